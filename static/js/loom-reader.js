// <loom-reader>: a loom, the table of its numbers, and a [data-reading] that tells the cell under the pointer.
customElements.define("loom-reader", class extends HTMLElement {
  connectedCallback() {
    this.addEventListener("pointermove", (event) => this.read(event));
    this.addEventListener("pointerleave", () => this.tell());
  }

  read(event) {
    const plot = this.querySelector(".plot");
    const box = plot?.getBoundingClientRect();
    if (!box || !plot.contains(event.target)) return this.tell();
    const { top, pitch, layers } = plot.dataset;
    const row = Math.floor((event.clientY - box.top - Number(top)) / Number(pitch));
    const layer = Number(layers) - 1 - row;
    const column = this.column(plot, event.clientX);
    const cell = layer >= 0 && layer < layers && this.querySelector(`tr[data-layer="${layer}"]`)?.cells[column + 1];
    this.tell(cell?.textContent ? `layer ${layer} · ${this.heads[column].textContent}: ${cell.textContent}` : undefined);
  }

  column(plot, x) {
    this.heads = [...plot.querySelectorAll(":scope > text")];
    const away = this.heads.map((head) => {
      const box = head.getBoundingClientRect();
      return Math.abs(x - box.left - box.width / 2);
    });
    return away.indexOf(Math.min(...away));
  }

  tell(words = "Point at a cell to read it.") {
    const place = this.querySelector("[data-reading]");
    if (place.textContent !== words) place.textContent = words;
  }
});
