// <copy-button for="ID"><button>…</button></copy-button>: copies the value or text of the element with that id.
customElements.define("copy-button", class extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", () => this.copy());
  }

  async copy() {
    const source = document.getElementById(this.getAttribute("for"));
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      this.tell("check", "Copied");
    } catch {
      getSelection().selectAllChildren(source);
      this.tell("keyboard", "Selected: press Ctrl+C");
    }
  }

  tell(icon, words) {
    const use = this.querySelector("use");
    const button = this.querySelector("button");
    this.before ??= [use.href.baseVal, button.ariaLabel];
    const show = (address, label) => {
      use.href.baseVal = address;
      button.ariaLabel = button.title = label;
    };
    show(this.before[0].replace(/#.*/, `#${icon}`), words);
    clearTimeout(this.timer);
    this.timer = setTimeout(show, 2000, ...this.before);
  }
});
