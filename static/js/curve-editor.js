// <curve-editor data-desk="{…}">: curves beside the loom. The form's fields hold the values; this draws and sets them.
import { Drawing } from "./curve-drawing.js";
import { CurveFields } from "./curve-fields.js";
import { parse, place, resample, SHAPES, snap, text, valueAt, words } from "./curve-maths.js";
import { fill, LoomSelection } from "./loom-selection.js";

const ALL = "all";
const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
// What is shown stays chosen when the page replaces the element: a parameter, and the letter of a line.
const chosen = { parameter: "", line: "" };

const clamp = (value, low, high) => Math.min(Math.max(value, low ?? -Infinity), high ?? Infinity);

customElements.define("curve-editor", class extends HTMLElement {
  connectedCallback() {
    this.fields = new CurveFields(this);
    this.parameters = this.querySelector("select");
    this.numbers = this.querySelector(".curve-values input");
    this.told = this.querySelector("output");
    this.drawing ??= new Drawing(this.querySelector("figure"));
    this.stop = new AbortController();
    this.listen((target, name, act) => target.addEventListener(name, act, { signal: this.stop.signal }));
    this.show();
  }

  disconnectedCallback() {
    this.stop.abort();
    this.observer.disconnect();
  }

  listen(on) {
    const { svg } = this.drawing;
    this.room = this.closest("loom-reader");
    this.selection = new LoomSelection(this, on, () => this.show());
    on(this.parameters, "change", () => this.show((chosen.parameter = this.parameters.value)));
    on(this.numbers, "change", () => this.take());
    on(this, "click", (event) => this.press(event.target.closest("[data-shape]")?.dataset.shape));
    on(svg, "pointerenter", () => this.drawing.raise(this.active));
    on(svg, "pointerdown", (event) => this.grab(event));
    on(svg, "pointermove", (event) => this.follow(event));
    for (const name of ["pointerup", "pointercancel"]) on(svg, name, () => this.drop());
    on(svg, "dblclick", () => this.presses.includes(true) || this.without(this.held));
    // Not on the drawing: one that listens for focus takes it.
    on(this, "keydown", (event) => event.target.matches(".anchor") && this.key(event));
    on(document, "focusin", ({ target }) => this.turn(this.lines.findIndex((line, index) => target.line === index || target.name === line.field)));
    on(this.room, "click", (event) => this.call(event.target.closest("[data-line]")));
    on(this.room, "pointermove", (event) => this.point(event));
    on(this.room, "pointerleave", () => this.point());
    on(document, "input", (event) => event.target.name && this.show());
    on(document, "htmx:before:request", (event) => this.fields.sent(event));
    on(document, "htmx:after:swap", () => this.settle());
    this.observer = new ResizeObserver(() => this.show());
    this.observer.observe(svg);
  }

  settle() {
    this.fields.settle();
    this.show();
  }

  // A line's own values, or those it takes over from a wider rule.
  read(line) {
    const { filters, sample } = this.selection;
    const rules = this.fields.rules(line);
    const own = rules.find(([filter]) => filter === filters[0]);
    const [, said] = own ?? rules.find(([filter]) => sample.includes(filter)) ?? ["", ""];
    return { ...line, own: Boolean(own), values: parse(said) ?? [this.parameter.start] };
  }

  show() {
    if (this.drag) return;
    const desk = JSON.parse(this.dataset.desk);
    const parameter = desk.parameters.find((one) => one.name === chosen.parameter) ?? desk.parameters[0];
    Object.assign(this, { desk, parameter });
    this.selection.show(desk, new Set(parameter.lines.flatMap((line) => this.fields.rules(line)).map(([filter]) => filter)));
    this.lines = parameter.lines.map((line) => this.read(line));
    this.active = Math.max(this.lines.findIndex((line) => line.letter === chosen.line), 0);
    const values = this.lines.flatMap((line) => line.values);
    this.low = Math.min(parameter.low, ...values);
    this.high = Math.max(parameter.high, ...values);
    const { band, label } = this.selection;
    this.drawing.draw({ ...desk, low: this.low, high: this.high, name: parameter.name, lines: this.lines, band, label });
    this.offer();
  }

  // The fields around the drawing, and the active line above the others.
  offer() {
    const { desk, parameter, lines, selection, active } = this;
    fill(this.parameters, desk.parameters.map(({ name }) => [name, name]), parameter.name);
    // Tab goes by their order.
    if (!document.activeElement.matches(".anchor")) this.drawing.raise(active);
    for (const one of this.room.querySelectorAll("[data-line]")) {
      one.ariaPressed = String(one.dataset.line === (chosen.line === ALL ? ALL : lines[active].letter));
    }
    const line = lines[active];
    const about = `${line.letter} ${parameter.name}${selection.label && ` for ${selection.label}`}`.trim();
    this.numbers.ariaLabel = `${about}: a number, or values from the first layer to the last`;
    this.numbers.placeholder = text(line.values);
    if (this.numbers !== document.activeElement) this.numbers.value = line.own ? text(line.values) : "";
  }

  // A line called by its letter in the legend, or all of them.
  call(name) {
    if (name) this.show((chosen.line = name.dataset.line));
  }

  turn(line) {
    if (line < 0 || chosen.line === ALL || this.active === line) return;
    chosen.line = this.lines[(this.active = line)].letter;
    this.offer();
  }

  // Those that change when line `index` does.
  moved(index) {
    return chosen.line === ALL ? this.lines : [this.lines[index]];
  }

  change(index, count, values) {
    for (const line of this.moved(index)) {
      if (line.values.length !== count) line.values = resample(line.values, count, this.parameter.step);
      line.values = values(line.values);
      line.own = true;
      this.put(line, text(line.values));
    }
    this.numbers.value = text(this.lines[this.active].values);
  }

  move(anchor, value, low, high) {
    const count = this.lines[anchor.line].values.length;
    const fit = (wanted) => clamp(snap(wanted, this.parameter.step), low, high);
    const by = fit(value) - this.lines[anchor.line].values[anchor.index];
    this.change(anchor.line, count, (values) => values.with(anchor.index, fit(values[anchor.index] + by)));
    this.drawing.move();
  }

  // One anchor more, and the focus on the one nearest to `t`.
  more(index, t) {
    const count = this.lines[index].values.length;
    this.change(index, count, (values) => resample(values, count + 1, this.parameter.step));
    this.drawing.move();
    const anchor = this.drawing.nearest(index, t);
    anchor.focus({ focusVisible: false });
    return anchor;
  }

  without(anchor) {
    const count = anchor && this.lines[anchor.line].values.length;
    if (!(count > 1)) return;
    this.change(anchor.line, count, (values) => resample(values, count - 1, this.parameter.step, anchor.index));
    this.drawing.move();
    this.drawing.nearest(anchor.line, place(anchor.index, count)).focus();
    this.post(anchor.line);
  }

  grab(event) {
    const hit = event.target.closest(".anchor, .hit");
    if (!hit || event.button) return;
    event.preventDefault();
    const adds = hit.matches(".hit");
    const anchor = adds ? this.more(hit.parentElement.line, clamp(this.drawing.under(event.x, event.y)[1], 0, 1)) : hit;
    this.presses = [this.presses?.[1], adds];
    anchor.focus({ focusVisible: false });
    this.held = anchor;
    this.drawing.raise(anchor.line);
    this.drawing.svg.setPointerCapture(event.pointerId);
    this.drag = { anchor, from: event.x, moved: adds };
  }

  follow(event) {
    const { drag } = this;
    if (!drag || (drag.to === undefined && Math.abs(event.x - drag.from) < 3)) return;
    drag.moved = true;
    drag.to = this.drawing.under(event.x, event.y)[0];
    drag.frame ??= requestAnimationFrame(() => this.step(drag));
  }

  step(drag) {
    drag.frame = undefined;
    this.move(drag.anchor, drag.to, this.low, this.high);
    this.say(place(drag.anchor.index, this.lines[drag.anchor.line].values.length));
  }

  drop() {
    const { drag } = this;
    if (drag?.frame) {
      cancelAnimationFrame(drag.frame);
      this.step(drag);
    }
    this.drag = undefined;
    if (drag?.moved) this.post(drag.anchor.line);
  }

  key(event) {
    const anchor = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { values } = this.lines[anchor.line];
    const { step, min, max } = this.parameter;
    const by = (KEYS[event.key] ?? 0) * step * (event.shiftKey ? 5 : 1);
    if (by) this.move(anchor, values[anchor.index] + by, min, max);
    else if (event.key === "Home") this.move(anchor, this.low);
    else if (event.key === "End") this.move(anchor, this.high);
    else if (event.key === "Delete" || event.key === "Backspace") this.without(anchor);
    else if (event.key === "+" || event.key === "Insert") this.more(anchor.line, place(anchor.index + 1, values.length + 1));
    else return;
    event.preventDefault();
    this.post(anchor.line);
  }

  press(name) {
    if (!name) return;
    for (const line of this.moved(this.active)) {
      const top = Math.max(...line.values) || this.parameter.start;
      const bottom = Math.min(...line.values);
      const low = bottom < top || name === "flat" ? bottom : Math.min(0, bottom);
      const values = SHAPES[name](low, top).map((value) => snap(value, this.parameter.step / 10));
      this.put(line, text(values));
    }
    this.show();
    this.post(this.active);
  }

  // The typed list; empty takes the rule of these modules away.
  take() {
    const { min, max } = this.parameter;
    const typed = this.numbers.value.trim();
    const wrong = typed && !parse(typed)?.every((value) => value === clamp(value, min, max));
    this.numbers.ariaInvalid = String(Boolean(wrong));
    if (wrong) return;
    this.put(this.lines[this.active], typed);
    this.show();
    this.post(this.active);
  }

  put(line, value) {
    for (const filter of this.selection.filters) this.fields.put(this.fields.name(line, filter), value);
  }

  post(index) {
    for (const line of this.moved(index)) this.fields.post(this.fields.name(line, this.selection.filters[0]));
    this.show();
  }

  // The layer under the pointer, in words.
  point(event) {
    if (this.drag) return;
    const chart = event?.target.closest(".plot, .curves");
    const [, t] = chart ? this.drawing.under(0, event.y, chart) : [];
    this.say(Math.abs(t - 0.5) < 0.5 + 0.6 / (this.desk.layers - 1) ? clamp(t, 0, 1) : undefined);
  }

  say(t) {
    const last = this.desk.layers - 1;
    const layer = Math.round(t * last);
    this.drawing.mark(t === undefined ? t : layer / last);
    const values = this.lines.map((line) => `${line.letter} ${words(snap(valueAt(line.values, layer / last || 0), 0.001))}`);
    this.told.value = t === undefined ? "" : [`layer ${layer}`, ...values].join(" · ");
  }
});
