// What the curves change: all, modules or layers. Chosen on the loom, by keys, in the list, or typed.
const TYPED = "…";
const ROWS = /^(?:layers?[ .])?(\d+)(?: ?[-–] ?(\d+))?\.?$/;
const UP = { ArrowUp: 1, ArrowDown: -1 };
const ASIDE = { ArrowRight: 1, ArrowLeft: -1 };
const ALL = { filters: [""], label: "" };
// Stays chosen when the page replaces the element. `from` and `to` are layers, where layers are chosen.
let chosen = ALL;

export function fill(select, options, value) {
  const key = JSON.stringify(options);
  if (select.key !== key) select.replaceChildren(...options.map(([name, label]) => new Option(label, name)));
  select.key = key;
  select.value = value;
}

const end = ([x, width]) => x + width;
const box = (x, y, width, height) => `M${x} ${y}h${width}v${height}h${-width}z`;

export class LoomSelection {
  // `on(target, event, act)` listens; `told` is called when something else is chosen.
  constructor(host, on, told) {
    [this.list, this.typed, this.clear] = host.querySelector(".curve-scope").children;
    this.rows = host.querySelector(".selection");
    this.reader = host.closest("loom-reader");
    this.told = told;
    on(this.list, "change", () => this.listed(this.list.value));
    on(this.typed, "change", () => this.take(this.typed.value.trim()));
    on(this.clear, "click", () => this.pick(""));
    on(this.rows, "keydown", (event) => this.key(event));
    on(this.reader, "pointerdown", (event) => this.press(event));
    on(this.reader, "pointermove", (event) => this.drag(event));
    on(this.reader, "click", (event) => this.pointed(event));
    on(document, "keydown", ({ key, defaultPrevented }) => {
      if (key === "Escape" && this.label && !defaultPrevented && !document.querySelector(":popover-open")) this.pick("");
    });
  }

  get filters() {
    return chosen.filters;
  }

  get label() {
    return chosen.label;
  }

  // A tensor's name that the first filter means, or as much of it as is known.
  get sample() {
    return this.module(this.filters[0])?.sample ?? this.filters[0];
  }

  module(filter) {
    return this.desk.modules.find((one) => one.filter === filter);
  }

  // `used`: filters that have values.
  show(desk, used) {
    this.desk = desk;
    const key = this.filters.join();
    const options = desk.modules.map(({ filter, label }) => [filter, used.has(filter) ? `${label} •` : label]);
    if (key && !this.module(key)) options.push([key, this.label]);
    fill(this.list, [["", "all modules"], ...options, [TYPED, "layers or a part of the name…"]], this.typed.hidden ? key : TYPED);
    this.clear.hidden = !this.label;
    this.draw();
  }

  // A veil over what stays as it is, and a line around what changes.
  draw() {
    const { layers, header, height, first, last, columns, modules } = this.desk;
    const { from, to } = chosen;
    const means = (name) => this.filters.some((filter) => filter && name.includes(filter));
    const y = (layer) => header + first + ((last - first) * layer) / (layers - 1);
    const half = (first - last) / (layers - 1) / 2;
    const wide = modules.filter((one) => one.y !== undefined && means(one.sample));
    const boxes = wide.map((one) => box(-5, header + one.y - 2, 1010, one.tall + 4));
    this.band = from === undefined ? [] : [y(Math.max(from, to)) - half, half * 2 * (Math.abs(to - from) + 1)];
    if (this.band.length) boxes.push(box(-5, this.band[0], 1010, this.band[1]));
    const meant = columns.filter(([, , names]) => names.some(means));
    for (let here = 0, next; here < meant.length; here = next) {
      for (next = here + 1; meant[next]?.[0] < end(meant[next - 1]) + 12; ) next += 1;
      boxes.push(box(meant[here][0] - 5, y(layers - 1) - half, end(meant[next - 1]) - meant[here][0] + 10, half * 2 * layers));
    }
    const inner = boxes.join("");
    [inner && box(-5, header - 3, 1010, height + 6) + inner, inner].forEach((path, index) => this.rows.children[index].setAttribute("d", path));
    const told = { height: header + height, viewBox: `0 0 1000 ${header + height}`, "aria-valuemax": layers - 1, "aria-valuenow": to ?? 0, "aria-valuetext": this.label || "all" };
    for (const [name, value] of Object.entries(told)) this.rows.setAttribute(name, value);
  }

  listed(filter) {
    this.typed.hidden = filter !== TYPED;
    if (this.typed.hidden) this.pick(filter);
    else this.typed.focus();
  }

  take(typed) {
    const [, from, to = from] = typed.match(ROWS) ?? [];
    if (from) this.layers(Number(from), Number(to));
    else this.pick(typed);
  }

  pick(filter) {
    this.choose(filter ? { filters: [filter], label: this.module(filter)?.label ?? filter } : ALL);
  }

  layers(from, to) {
    const { layer, layers } = this.desk;
    const [low, high] = [Math.min(from, to), Math.max(from, to)];
    if (!layer || !(low >= 0 && high < layers)) return;
    const filters = Array.from({ length: high - low + 1 }, (_, index) => `${layer}${low + index}.`);
    this.choose({ filters, from, to, label: high > low ? `layers ${low}–${high}` : `layer ${low}` });
  }

  choose(what) {
    chosen = what;
    this.typed.hidden = true;
    this.told();
    document.getElementById("told").textContent = `The curves are for ${this.label || "all modules"}.`;
  }

  // Arrows up and down for layers, with Shift for several; aside for modules.
  key(event) {
    const [by, aside] = [UP[event.key], ASIDE[event.key]];
    const { layers, modules } = this.desk;
    if (by) {
      const to = Math.min(Math.max((chosen.to ?? (by > 0 ? -1 : layers)) + by, 0), layers - 1);
      this.layers(event.shiftKey ? (chosen.from ?? to) : to, to);
    } else if (aside) {
      const filters = ["", ...modules.map((one) => one.filter)];
      this.pick(filters.at((Math.max(filters.indexOf(this.filters[0]), 0) + aside) % filters.length));
    } else return;
    event.preventDefault();
  }

  press(event) {
    this.start = (event.shiftKey ? chosen.from : undefined) ?? this.reader.layer(event);
    this.dragged = false;
  }

  drag(event) {
    const layer = this.reader.layer(event);
    if (event.buttons !== 1 || event.pointerType === "touch" || !(layer >= 0) || layer === (this.dragged ? chosen.to : this.start)) return;
    this.dragged = true;
    this.layers(this.start, layer);
  }

  // What is chosen already is chosen no more.
  pointed(event) {
    const plot = event.target.closest(".plot");
    if (!plot) return;
    this.rows.focus({ preventScroll: true });
    if (this.dragged) return;
    const before = this.filters.join();
    const y = event.clientY - plot.getBoundingClientRect().top - this.desk.header;
    const name = event.target.closest("text")?.dataset.name;
    const module = this.desk.modules.find((one) => (name ? one.label === name : y >= one.y && y <= one.y + one.tall));
    if (module) this.pick(module.filter);
    else if (!name) this.layers(this.start, this.reader.layer(event));
    if (this.filters.join() === before) this.pick("");
  }
}
