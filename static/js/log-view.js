// <log-view><ol class="log">…</ol></log-view> with a [aria-pressed] button: keeps the newest line in sight.
customElements.define("log-view", class extends HTMLElement {
  connectedCallback() {
    this.list = this.querySelector("ol");
    this.button = document.getElementById(this.getAttribute("toggle"));
    this.button.hidden = false;
    this.button.addEventListener("click", () => this.follow(!this.following));
    this.list.addEventListener("wheel", (event) => event.deltaY < 0 && this.follow(false), { passive: true });
    this.observer = new MutationObserver(() => this.following && this.end());
    this.observer.observe(this.list, { childList: true });
    this.follow(true);
  }

  disconnectedCallback() {
    this.observer.disconnect();
  }

  get following() {
    return this.button.getAttribute("aria-pressed") === "true";
  }

  follow(yes) {
    this.button.setAttribute("aria-pressed", String(yes));
    if (yes) this.end();
  }

  end() {
    this.list.scrollTop = this.list.scrollHeight;
  }
});
