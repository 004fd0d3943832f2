// <recipe-history>: undo and redo over a draft's text, by two buttons or Ctrl+Z and Ctrl+Shift+Z.
const KEY = "weightloom.history";
const TEXT = "input:not([type=range], [type=checkbox], [type=radio]), textarea";

customElements.define("recipe-history", class extends HTMLElement {
  connectedCallback() {
    this.state = document.getElementById("state");
    this.texts = this.stored();
    this.at = this.texts.length - 1;
    this.buttons = this.querySelectorAll("button");
    this.buttons.forEach((button, index) => button.addEventListener("click", () => this.go(index ? 1 : -1)));
    new MutationObserver(() => this.keep()).observe(this.state, { childList: true });
    document.addEventListener("keydown", (event) => this.key(event));
    this.keep();
  }

  // Of this draft, or of the one it was imported in: an import can be undone.
  stored() {
    try {
      const [draft, ...texts] = JSON.parse(sessionStorage.getItem(KEY));
      if (draft && (location.href + document.referrer).includes(draft)) return texts;
    } catch {
      // Nothing is kept.
    }
    return document.referrer.endsWith("/") ? [""] : [];
  }

  keep() {
    const [text, draft] = ["textarea", "[name=draft]"].map((one) => this.state.querySelector(one)?.value.trim());
    if (text !== undefined && text !== this.texts[this.at]) {
      this.texts = [...this.texts.slice(0, this.at + 1), text].slice(-100);
      this.at = this.texts.length - 1;
    }
    this.hidden = this.texts.length < 2;
    this.buttons.forEach((button, index) => (button.ariaDisabled = String(!this.can(index ? 1 : -1))));
    try {
      sessionStorage.setItem(KEY, JSON.stringify([draft, ...this.texts.slice(0, this.at + 1)]));
    } catch {
      // A full or forbidden storage only means that a new page begins anew.
    }
  }

  can(by) {
    return this.at + by in this.texts;
  }

  go(by) {
    if (!this.can(by)) return;
    this.at += by;
    document.getElementById("yaml").value = this.texts[this.at];
    document.querySelector("#panel-yaml [value=yaml]").click();
  }

  key(event) {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key) || event.target.closest(TEXT)) return;
    event.preventDefault();
    this.go(key === "y" || event.shiftKey ? 1 : -1);
  }
});
