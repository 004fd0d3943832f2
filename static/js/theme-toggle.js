// <theme-toggle><button><svg><use></svg></button></theme-toggle>: system, light, dark; remembered in this browser.
const NEXT = { system: "light", light: "dark", dark: "system" };
const ICONS = { system: "monitor", light: "sun", dark: "moon" };

customElements.define("theme-toggle", class extends HTMLElement {
  connectedCallback() {
    this.button = this.querySelector("button");
    this.button.addEventListener("click", () => this.choose(NEXT[this.theme]));
    this.tell();
  }

  get theme() {
    return document.documentElement.dataset.theme ?? "system";
  }

  choose(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      if (theme === "system") localStorage.removeItem("weightloom.theme");
      else localStorage.setItem("weightloom.theme", theme);
    } catch {
      // Not remembered then.
    }
    this.tell();
  }

  tell() {
    const use = this.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${ICONS[this.theme]}`));
    this.button.ariaLabel = this.button.title = `Theme: ${this.theme}. Change to ${NEXT[this.theme]}`;
  }
});
