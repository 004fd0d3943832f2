// <recipe-history>: undo and redo over the recipe's text, by two buttons or Ctrl+Z and Ctrl+Shift+Z.
const KEY = "weightloom.history";
const MOST = 100;
const TEXT = "input:not([type=range], [type=checkbox], [type=radio]), textarea, [contenteditable]";

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [""];
  } catch {
    return [""];
  }
}

customElements.define("recipe-history", class extends HTMLElement {
  connectedCallback() {
    this.state = document.getElementById("state");
    // An import loads the page anew, and can be undone all the same.
    this.texts = stored();
    this.at = this.texts.length - 1;
    this.buttons = [...this.querySelectorAll("button")];
    this.buttons.forEach((button, index) => button.addEventListener("click", () => this.go(index ? 1 : -1)));
    this.observer = new MutationObserver(() => this.keep());
    this.observer.observe(this.state, { childList: true });
    this.listener = (event) => this.key(event);
    document.addEventListener("keydown", this.listener);
    this.keep();
  }

  disconnectedCallback() {
    this.observer.disconnect();
    document.removeEventListener("keydown", this.listener);
  }

  keep() {
    const text = this.state.querySelector("textarea")?.value.trim();
    if (text !== undefined && text !== this.texts[this.at]) {
      this.texts = [...this.texts.slice(0, this.at + 1), text].slice(-MOST);
      this.at = this.texts.length - 1;
    }
    this.hidden = this.texts.length < 2;
    this.buttons.forEach((button, index) => (button.ariaDisabled = String(!this.can(index ? 1 : -1))));
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.texts.slice(0, this.at + 1)));
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
