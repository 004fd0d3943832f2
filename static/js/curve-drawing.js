// The drawing of <curve-editor>: a frame with marks, a line and its anchors for each parent. Units are CSS pixels.
import { marks, place, words } from "./curve-maths.js";

function shape(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(element, attributes);
  parent.append(element);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

export class Drawing {
  constructor(parent) {
    parent.replaceChildren();
    this.svg = shape("svg", { class: "chart curves", role: "group" }, parent);
    this.back = shape("g", { "aria-hidden": true }, this.svg);
    this.threads = shape("g", {}, this.svg);
    this.veil = shape("path", { class: "veil" }, this.svg);
  }

  // `scene`: low, high, layers, header, height, first and last (the layers' places), name, lines; `band` (y and height) and
  // `label` of layers that alone are meant.
  draw(scene) {
    this.scene = scene;
    this.width = this.svg.clientWidth;
    const { header, height, name, lines } = scene;
    set(this.svg, { height: header + height, "aria-label": `${name} over the layers` });
    this.back.replaceChildren();
    shape("rect", { class: "curve-frame", y: header, width: "100%", height, rx: 6 }, this.back);
    for (const mark of marks(scene.low, scene.high)) {
      const x = this.across(mark);
      const [start, end] = [x < 4, x > this.width - 4];
      const label = shape("text", { x, y: 10, "text-anchor": start ? "start" : end ? "end" : "middle" }, this.back);
      label.textContent = words(mark);
      if (!start && !end) this.rule({ x1: x, x2: x, y1: header, y2: header + height });
    }
    const [y, tall] = scene.band;
    const line = `h${this.width}`;
    set(this.veil, { d: tall ? `M0 ${header}${line}V${y}H0zM0 ${y + tall}${line}V${header + height}H0z` : "" });
    this.guide = this.rule({ x2: "100%", visibility: "hidden" });
    const groups = this.threads.children;
    while (groups.length > lines.length) this.threads.lastChild.remove();
    while (groups.length < lines.length) this.thread();
    this.groups = [...groups].sort((one, other) => one.line - other.line);
    this.groups.forEach((group, index) => (group.line = index));
    this.move();
  }

  rule(attributes) {
    return shape("line", { class: "curve-frame", ...attributes }, this.back);
  }

  thread() {
    const group = shape("g", {}, this.threads);
    group.line = this.threads.children.length - 1;
    shape("path", { class: "line" }, group);
    shape("path", { class: "line hit" }, group);
    shape("text", { class: "strong", "text-anchor": "middle", "aria-hidden": true }, group);
  }

  // All that a changed value changes. Elements stay, so that focus does.
  move() {
    this.groups.forEach((group, index) => this.paint(group, this.scene.lines[index]));
    let free = 6;
    const letters = this.groups.map((group) => group.children[2]);
    for (const letter of letters.sort((one, other) => one.end - other.end)) {
      const x = Math.min(Math.max(letter.end, free), this.width - 6);
      set(letter, { x, y: this.scene.header + this.scene.last - 11 });
      free = x + 12;
    }
  }

  paint(group, line) {
    const { scene } = this;
    const count = line.values.length;
    const [y, tall] = scene.band;
    const height = (index) => (tall && count < 2 ? y + tall / 2 : this.down(place(index, count)));
    const points = line.values.map((value, index) => [this.across(value), height(index)]);
    const [line1, hit, letter, ...anchors] = group.children;
    const path = count > 1 ? points : [0, 1].map((t) => [points[0][0], this.down(t)]);
    set(group, { class: `${line.colour}${line.own ? "" : " lent"}` });
    for (const one of [line1, hit]) set(one, { d: `M${path.join("L")}` });
    letter.textContent = line.letter;
    letter.end = points.at(-1)[0];
    for (const extra of anchors.splice(count)) extra.remove();
    while (anchors.length < count) anchors.push(this.anchor(group));
    const who = `${line.letter} ${scene.name}`.trim();
    anchors.forEach((anchor, index) => {
      Object.assign(anchor, { line: group.line, index });
      for (const circle of anchor.children) set(circle, { cx: points[index][0], cy: points[index][1] });
      const value = words(line.values[index]);
      const at = count > 1 ? `layer ${Math.round(place(index, count) * (scene.layers - 1))}` : scene.label || "every layer";
      set(anchor, {
        "aria-label": `${who}, anchor ${index + 1} of ${count}`, "aria-valuetext": `${who} at ${at}: ${value}`,
        "aria-valuenow": value, "aria-valuemin": scene.low, "aria-valuemax": scene.high,
      });
    });
  }

  anchor(group) {
    const anchor = shape("g", { class: "anchor", role: "slider", tabindex: 0 }, group);
    shape("circle", { class: "grip", r: 11 }, anchor);
    shape("circle", { class: "dot", r: 5 }, anchor);
    return anchor;
  }

  // The anchor of a line that is nearest to `t`.
  nearest(line, t) {
    const anchors = [...this.groups[line].querySelectorAll(".anchor")];
    return anchors[Math.round(t * (anchors.length - 1))];
  }

  // Above the others. They are moved, not this one, which may have the focus.
  raise(line) {
    for (const group of this.groups) if (group !== this.groups[line]) this.threads.insertBefore(group, this.groups[line]);
  }

  across(value) {
    return ((value - this.scene.low) / (this.scene.high - this.scene.low)) * this.width;
  }

  down(t) {
    return this.scene.header + this.scene.first + (this.scene.last - this.scene.first) * t;
  }

  // The value and the place (0 the first layer, 1 the last) at a point of the screen.
  under(x, y, chart = this.svg) {
    const { low, high } = this.scene;
    const box = chart.getBoundingClientRect();
    return [low + ((x - box.left) / box.width) * (high - low), (y - box.top - this.down(0)) / (this.down(1) - this.down(0))];
  }

  // A thin line across at `t`, none without one.
  mark(t) {
    const y = this.down(t ?? 0);
    set(this.guide, { y1: y, y2: y, visibility: t === undefined ? "hidden" : "visible" });
  }
}
