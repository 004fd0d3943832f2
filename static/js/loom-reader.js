// <loom-reader>: a loom, the table of its numbers, and a [data-reading] that tells the cell under the pointer.
customElements.define("loom-reader", class extends HTMLElement {
  connectedCallback() {
    this.addEventListener("pointermove", (event) => this.read(event));
    this.addEventListener("pointerleave", () => this.tell());
  }

  // The layer at a point of the loom's picture.
  layer({ target, clientY }) {
    const plot = target.closest(".plot");
    if (!plot) return;
    const { top, pitch, layers } = plot.dataset;
    const layer = layers - 1 - Math.floor((clientY - plot.getBoundingClientRect().top - top) / pitch);
    return layer >= 0 && layer < layers ? layer : undefined;
  }

  read(event) {
    const layer = this.layer(event);
    const cells = layer !== undefined && this.querySelector(`tr[data-layer="${layer}"]`)?.cells;
    if (!cells) return this.tell();
    const plot = event.target.closest(".plot");
    const { left, width } = plot.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * 100;
    const heads = [...plot.querySelectorAll(":scope > text")];
    const away = heads.map((head) => Math.abs(x - parseFloat(head.getAttribute("x"))));
    const column = away.indexOf(Math.min(...away));
    const said = cells[column + 1].textContent;
    this.tell(said ? `layer ${layer} · ${heads[column].dataset.name}: ${said}` : undefined);
  }

  tell(said = "Point at a cell to read it.") {
    const place = this.querySelector("[data-reading]");
    if (place.textContent !== said) place.textContent = said;
  }
});
