// <copy-button for="ID"><button>…</button></copy-button>: copies the value or text of the element with that id.
customElements.define("copy-button", class extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", () => this.copy());
  }

  async copy() {
    const source = document.getElementById(this.getAttribute("for"));
    const text = source.value ?? source.textContent;
    try {
      await navigator.clipboard.writeText(text);
      this.tell("check", "Copied");
    } catch {
      getSelection().selectAllChildren(source);
      this.tell("keyboard", "Selected: press Ctrl+C");
    }
  }

  tell(icon, words) {
    const use = this.querySelector("use");
    const button = this.querySelector("button");
    this.before ??= [use.getAttribute("href"), button.ariaLabel];
    use.setAttribute("href", this.before[0].replace(/#.*/, `#${icon}`));
    button.ariaLabel = button.title = words;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      use.setAttribute("href", this.before[0]);
      button.ariaLabel = button.title = this.before[1];
    }, 2000);
  }
});
