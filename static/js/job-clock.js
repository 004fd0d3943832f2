// <job-clock left="38" started="…">: counts on between two messages of the server.
import { ago } from "./ago.js";

function words(seconds) {
  if (seconds < 1) return "a moment";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

customElements.define("job-clock", class extends HTMLElement {
  static observedAttributes = ["left", "told", "started"];

  connectedCallback() {
    this.timer = setInterval(() => this.show(), 1000);
    this.attributeChangedCallback();
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  attributeChangedCallback() {
    this.since = Date.now();
    if (this.isConnected) this.show();
  }

  show() {
    const parts = [];
    if (this.getAttribute("left")) {
      const left = Math.max(0, Math.round(Number(this.getAttribute("left")) - (Date.now() - this.since) / 1000));
      parts.push(`about ${words(left)} left`);
    }
    if (this.getAttribute("started")) parts.push(`started ${ago(new Date(this.getAttribute("started")))}`);
    this.textContent = parts.join(" · ");
  }
});
