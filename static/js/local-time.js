// <local-time as="clock|ago|date"><time datetime="…">…</time></local-time>: a moment in the reader's own time zone.
import { ago } from "./ago.js";

customElements.define("local-time", class extends HTMLElement {
  connectedCallback() {
    this.show();
    if (this.getAttribute("as") === "ago") this.timer = setInterval(() => this.show(), 15000);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  show() {
    const time = this.querySelector("time");
    const date = new Date(time?.dateTime);
    if (!time || Number.isNaN(date.getTime())) return;
    time.title = date.toLocaleString("en-GB", { dateStyle: "full", timeStyle: "long" });
    if (this.getAttribute("as") === "clock") time.textContent = date.toLocaleTimeString("en-GB");
    else if (this.getAttribute("as") === "ago") time.textContent = ago(date);
    else time.textContent = date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  }
});
