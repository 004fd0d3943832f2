// <curve-editor data-desk="{…}">: curves beside the loom. The form's fields hold the values; this draws and sets them.
import { Drawing } from "./curve-drawing.js";
import { CurveFields } from "./curve-fields.js";
import { parse, place, resample, SHAPES, snap, text, valueAt, words } from "./curve-maths.js";

const TYPED = "…";
const ALL = "all";
const ROWS = /^(?:layers? )?(\d+)(?: ?[-–] ?(\d+))?$/;
const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
// What is shown stays chosen when the page replaces the element.
const chosen = { parameter: "", filter: "", label: "", line: "0" };
const AND = "|"; // between filters of several layers

const clamp = (value, low, high) => Math.min(Math.max(value, low ?? -Infinity), high ?? Infinity);

function fill(select, options, value) {
  const key = JSON.stringify(options);
  if (select.key !== key) select.replaceChildren(...options.map(([name, label]) => new Option(label, name)));
  select.key = key;
  select.value = value;
}

customElements.define("curve-editor", class extends HTMLElement {
  static observedAttributes = ["data-desk"];

  connectedCallback() {
    this.fields = new CurveFields(this);
    this.room = this.parentElement;
    [this.parameters, this.modules, this.who] = this.querySelectorAll("select");
    [this.typed, this.numbers] = this.querySelectorAll("input");
    this.told = this.querySelector("output");
    this.drawing ??= new Drawing(this.querySelector("figure"));
    this.listen();
    this.show();
  }

  disconnectedCallback() {
    this.stop.abort();
    this.observer.disconnect();
  }

  attributeChangedCallback() {
    if (this.drawing) this.show();
  }

  listen() {
    this.stop = new AbortController();
    const on = (target, name, act) => target.addEventListener(name, act, { signal: this.stop.signal });
    const { svg } = this.drawing;
    on(this, "change", (event) => this.choose(event.target));
    on(this, "click", (event) => this.press(event.target.closest("[data-shape]")?.dataset.shape));
    on(svg, "pointerdown", (event) => this.grab(event));
    on(svg, "pointermove", (event) => this.follow(event));
    on(svg, "pointerup", () => this.drop());
    on(svg, "pointercancel", () => this.drop());
    on(svg, "dblclick", () => this.presses.includes(true) || this.without(this.held));
    // Not on the drawing: one that listens for focus takes it.
    on(this, "keydown", (event) => event.target.matches(".anchor") && this.key(event));
    on(this, "focusin", ({ target }) => target.matches(".anchor") && this.turn(target.line));
    on(this.room, "click", (event) => event.target.closest(".plot") && this.pointed(event));
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
    const rules = this.fields.rules(line);
    const own = rules.find(([filter]) => filter === chosen.filter.split(AND)[0]);
    const [, said] = own ?? rules.find(([filter]) => this.sample.includes(filter)) ?? ["", ""];
    return { ...line, own: Boolean(own), values: parse(said) ?? [this.parameter.start] };
  }

  show() {
    if (this.drag) return;
    const desk = (this.desk = JSON.parse(this.dataset.desk));
    this.parameter = desk.parameters.find((one) => one.name === chosen.parameter) ?? desk.parameters[0];
    this.sample = desk.modules.find((one) => one.filter === chosen.filter)?.sample ?? chosen.filter;
    const lines = (this.lines = this.parameter.lines.map((line) => this.read(line)));
    this.active = chosen.line === ALL ? 0 : Math.min(chosen.line, lines.length - 1);
    const values = lines.flatMap((line) => line.values);
    this.low = Math.min(this.parameter.low, ...values);
    this.high = Math.max(this.parameter.high, ...values);
    this.offer();
    this.drawing.draw({ ...desk, low: this.low, high: this.high, name: this.parameter.name, lines });
  }

  // The fields around the drawing.
  offer() {
    const { desk, parameter, lines } = this;
    fill(this.parameters, desk.parameters.map((one) => [one.name, one.name]), parameter.name);
    const used = new Set(lines.flatMap((line) => this.fields.rules(line)).map(([filter]) => filter));
    const known = new Map([["", "all modules"]]);
    const rest = [...used].filter((filter) => !desk.layer || !filter.startsWith(desk.layer));
    const more = [...rest, chosen.filter].map((filter) => ({ filter, label: filter === chosen.filter ? chosen.label : filter }));
    for (const { filter, label } of [...desk.modules, ...more]) if (!known.has(filter)) known.set(filter, label);
    const options = [...known].map(([filter, label]) => [filter, filter && used.has(filter) ? `${label} •` : label]);
    fill(this.modules, [...options, [TYPED, "layers or a part of the name…"]], this.typed.hidden ? chosen.filter : TYPED);
    fill(this.who, [...lines.map((line, index) => [index, line.letter]), [ALL, "together"]], chosen.line === ALL ? ALL : this.active);
    this.who.hidden = lines.length < 2;
    const line = lines[this.active];
    const about = `${line.letter} ${parameter.name}${chosen.filter && ` for ${known.get(chosen.filter)}`}`.trim();
    this.numbers.ariaLabel = `${about}: a number, or values from the first layer to the last`;
    this.numbers.placeholder = text(line.values);
    if (this.numbers !== document.activeElement) this.numbers.value = line.own ? text(line.values) : "";
    for (const head of this.room.querySelectorAll(".plot > text")) {
      const module = desk.modules.find((one) => one.label === head.textContent);
      head.classList.toggle("strong", Boolean(chosen.filter && module?.sample.includes(chosen.filter)));
    }
  }

  choose(select) {
    if (select === this.numbers) return this.take();
    if (select === this.parameters) chosen.parameter = select.value;
    else if (select === this.who) chosen.line = select.value;
    else if (select === this.modules && select.value === TYPED) {
      this.typed.hidden = false;
      this.typed.focus();
    } else if (select === this.modules) this.pick(select.value);
    else if (select === this.typed) {
      const typed = select.value.trim();
      const [, from, to = from] = typed.match(ROWS) ?? [];
      if (from) this.layers(Number(from), Number(to));
      else this.pick(typed);
      this.numbers.focus();
    }
    this.show();
  }

  // Once more: all modules again.
  pick(filter, label = filter) {
    Object.assign(chosen, { label, filter: filter === chosen.filter ? "" : filter });
    this.typed.hidden = true;
    this.show();
  }

  layers(one, other) {
    const { layer, layers } = this.desk;
    const [from, to] = [Math.min(one, other), Math.max(one, other)];
    if (!layer || from < 0 || to >= layers) return;
    const rows = Array.from({ length: to - from + 1 }, (_, index) => `${layer}${from + index}.`);
    this.pick(rows.join(AND), to > from ? `layers ${from}–${to}` : `layer ${from}`);
  }

  // A module's name, or a layer's row; with Shift all rows from the one before.
  pointed(event) {
    const label = event.target.closest("text")?.textContent;
    if (label) return this.column(label);
    const row = Math.round(this.drawing.under(0, event.y)[1] * (this.desk.layers - 1));
    if (!event.shiftKey) this.row = row;
    this.layers(this.row ?? row, row);
  }

  column(label) {
    const filter = this.desk.modules.find((one) => one.label === label)?.filter;
    if (filter) this.pick(filter);
  }

  turn(line) {
    if (chosen.line === ALL || this.active === line) return;
    chosen.line = String((this.active = line));
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
    for (const filter of chosen.filter.split(AND)) this.fields.put(this.fields.name(line, filter), value);
  }

  post(index) {
    for (const line of this.moved(index)) this.fields.post(this.fields.name(line, chosen.filter.split(AND)[0]));
    this.show();
  }

  // The layer under the pointer, in words.
  point(event) {
    if (this.drag) return;
    const t = event ? this.drawing.under(event.x, event.y)[1] : NaN;
    const edge = 0.6 / (this.desk.layers - 1);
    this.say(t > -edge && t < 1 + edge ? clamp(t, 0, 1) : undefined);
  }

  say(t) {
    const last = this.desk.layers - 1;
    const layer = Math.round(t * last);
    this.drawing.mark(t === undefined ? t : layer / last);
    const values = this.lines.map((line) => `${line.letter} ${words(snap(valueAt(line.values, layer / last || 0), 0.001))}`);
    this.told.value = t === undefined ? "" : [`layer ${layer}`, ...values].join(" · ");
  }
});
