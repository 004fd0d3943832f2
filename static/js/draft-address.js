// <draft-address>: puts the address of the draft that the server keeps into the address bar.
customElements.define("draft-address", class extends HTMLElement {
  connectedCallback() {
    new MutationObserver(() => this.write()).observe(this, { childList: true });
    this.write();
  }

  write() {
    const id = this.querySelector("[name=draft]")?.value;
    const section = this.querySelector("[name=document]")?.value;
    const address = `/?draft=${id}${section ? `&document=${encodeURIComponent(section)}` : ""}`;
    if (id && location.pathname + location.search !== address) history.replaceState(history.state, "", address);
  }
});
