// <slider-field for="ID"><input type="range"></slider-field>: a slider beside the text field that carries the value.
customElements.define("slider-field", class extends HTMLElement {
  connectedCallback() {
    this.range = this.querySelector("input");
    this.sheet ??= this.attachSheet();
    this.range.addEventListener("input", () => this.write());
    this.watch = (event) => event.target === this.field && this.read();
    document.addEventListener("input", this.watch);
    this.observer = new MutationObserver(() => this.paint());
    this.observer.observe(this.range, { attributeFilter: ["value", "min", "max"] });
    this.read();
  }

  disconnectedCallback() {
    document.removeEventListener("input", this.watch);
    this.observer.disconnect();
  }

  // Not through a style attribute: a morph would copy it, and the content security policy forbids that.
  attachSheet() {
    const shadow = this.attachShadow({ mode: "open" });
    shadow.append(document.createElement("slot"));
    const sheet = new CSSStyleSheet();
    shadow.adoptedStyleSheets = [sheet];
    return sheet;
  }

  get field() {
    return document.getElementById(this.getAttribute("for"));
  }

  write() {
    this.field.value = Number(this.range.value);
    this.paint();
    this.field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  read() {
    const value = parseFloat(this.field?.value.replace(",", "."));
    if (isFinite(value)) this.range.value = value;
    this.paint();
  }

  paint() {
    const { min, max, value } = this.range;
    this.sheet.replaceSync(`:host { --fill: ${((value - min) / (max - min || 1)) * 100}% }`);
  }
});
