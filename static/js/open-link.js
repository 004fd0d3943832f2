// <open-link>: sends the recipe behind the # of the address to this server, and shows what it makes of it.
customElements.define("open-link", class extends HTMLElement {
  connectedCallback() {
    addEventListener("hashchange", () => location.reload());
    this.open(location.hash.slice(1));
  }

  async open(token) {
    const told = this.querySelector("[role=status]");
    if (!token) {
      told.textContent = "There is no recipe in this address: it should go on behind a #.";
      return;
    }
    try {
      const answer = await fetch("/r", {
        method: "POST",
        headers: { "HX-Request-Type": "partial" },
        body: new URLSearchParams({ token }),
      });
      this.show(await answer.text(), answer.ok);
    } catch {
      told.textContent = "The server does not answer. Reload the page to try again.";
    }
  }

  show(page, whole) {
    const place = whole ? document.getElementById("main") : this;
    place.innerHTML = page;
    if (!whole) return;
    document.title = `${place.querySelector("h1").textContent} · Weightloom`;
    window.htmx.process(place);
  }
});
