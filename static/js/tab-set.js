// <tab-set>: a [role=tablist] of buttons with aria-controls. Without this script every panel is shown.
customElements.define("tab-set", class extends HTMLElement {
  connectedCallback() {
    this.tabs = [...this.querySelectorAll("[role=tab]")];
    for (const tab of this.tabs) {
      const panel = this.panel(tab);
      panel.role = "tabpanel";
      panel.setAttribute("aria-labelledby", tab.id);
      tab.addEventListener("click", () => this.select(tab));
      tab.addEventListener("keydown", (event) => this.step(event, tab));
    }
    this.select(this.tabs.find((tab) => tab.ariaSelected === "true") ?? this.tabs[0]);
  }

  panel(tab) {
    return document.getElementById(tab.getAttribute("aria-controls"));
  }

  select(chosen) {
    for (const tab of this.tabs) {
      tab.ariaSelected = String(tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      this.panel(tab).hidden = tab !== chosen;
    }
    this.dispatchEvent(new Event("tab-shown", { bubbles: true }));
  }

  step(event, tab) {
    const at = this.tabs.indexOf(tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = this.tabs.at(to % this.tabs.length);
    this.select(next);
    next.focus();
  }
});
