// <draft-address>: puts the address of the draft on the server into the address bar.
customElements.define("draft-address", class extends HTMLElement {
  connectedCallback() {
    new MutationObserver(() => this.write()).observe(this, { childList: true });
    this.write();
  }

  write() {
    const id = this.querySelector("[name=draft]")?.value;
    const section = this.querySelector("[name=document]")?.value;
    if (id) history.replaceState(history.state, "", `/?draft=${id}${section ? `&document=${encodeURIComponent(section)}` : ""}`);
  }
});
