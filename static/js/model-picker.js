// <model-picker>: an ARIA combobox over GET /models/suggest?q=. The field inside works without this script too.
const WAIT = 250;

customElements.define("model-picker", class extends HTMLElement {
  connectedCallback() {
    this.field = this.querySelector("[role=combobox]");
    this.list = this.querySelector("[role=listbox]");
    this.field.addEventListener("input", () => {
      this.narrow();
      this.later();
    });
    this.field.addEventListener("focus", () => this.later(0));
    this.field.addEventListener("keydown", (event) => this.key(event));
    this.field.addEventListener("blur", () => setTimeout(() => this.contains(document.activeElement) || this.close(), 150));
    if (this.field === document.activeElement) this.later(0);
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.choose(event.target.closest("[data-ref]")));
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
    this.asking?.abort();
  }

  get options() {
    return [...this.list.querySelectorAll("[data-ref]:not([hidden])")];
  }

  // Until the answer is here, nothing may be chosen that does not fit what is typed.
  narrow() {
    const words = this.field.value.toLowerCase().split(/\s+/);
    for (const option of this.list.children) {
      option.hidden = !words.every((word) => option.textContent.toLowerCase().includes(word));
    }
    this.mark(-1);
  }

  later(wait = WAIT) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), wait);
  }

  async ask() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const address = `${this.getAttribute("src")}?q=${encodeURIComponent(this.field.value.trim())}`;
    try {
      const answer = await fetch(address, { signal: asking.signal, headers: { "HX-Request-Type": "partial" } });
      if (!answer.ok) return this.close();
      const html = await answer.text();
      if (asking.signal.aborted || document.activeElement !== this.field) return;
      const marked = this.options[this.at]?.dataset.ref;
      this.list.innerHTML = html;
      this.options.forEach((option, index) => (option.id = `${this.list.id}-${index}`));
      this.open(this.list.childElementCount > 0);
      this.mark(this.options.findIndex(({ dataset }) => dataset.ref === marked));
    } catch (error) {
      if (error.name !== "AbortError") this.close();
    }
  }

  open(yes) {
    this.list.hidden = !yes;
    this.field.setAttribute("aria-expanded", String(yes));
  }

  close() {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.open(false);
    this.mark(-1);
  }

  mark(index) {
    this.at = index;
    this.options.forEach((option, place) => option.setAttribute("aria-selected", String(place === index)));
    const option = this.options[index];
    if (option) {
      this.field.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else this.field.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const count = this.options.length;
    if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.close();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.choose(this.list.hidden ? null : this.options[this.at]);
    } else if (["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      if (this.list.hidden) return this.later(0);
      const by = event.key === "ArrowDown" ? 1 : -1;
      this.mark(count ? (this.at + by + count + (this.at < 0 && by < 0 ? 1 : 0)) % count : -1);
    }
  }

  choose(option) {
    if (option) this.field.value = option.dataset.ref;
    if (!this.field.value.trim()) return;
    this.close();
    this.querySelector("button").click();
  }
});
