// <theme-toggle><button><svg><use></svg></button></theme-toggle>: system, light, dark; remembered in this browser.
const THEMES = { system: ["monitor", "light"], light: ["sun", "dark"], dark: ["moon", "system"] };
const { dataset } = document.documentElement;

customElements.define("theme-toggle", class extends HTMLElement {
  connectedCallback() {
    this.firstChild.addEventListener("click", () => this.turn());
    this.tell();
  }

  turn() {
    [, dataset.theme] = THEMES[dataset.theme];
    try {
      localStorage.setItem("weightloom.theme", dataset.theme);
    } catch {
      // Not remembered then.
    }
    this.tell();
  }

  tell() {
    const [icon, next] = THEMES[(dataset.theme ??= "system")];
    const use = this.querySelector("use");
    use.href.baseVal = use.href.baseVal.replace(/#.*/, `#${icon}`);
    this.firstChild.ariaLabel = this.firstChild.title = `Theme: ${dataset.theme}. Change to ${next}`;
  }
});
