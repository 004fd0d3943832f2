// <stack-editor>: blocks of layers, dragged by their grips and trimmed by their edges. What a drag does is posted like
// the buttons and fields do it; the server draws the blocks anew.
const NEAR = 48;
const SCROLL = 10;
const sheet = new CSSStyleSheet();
// What gets the focus when the blocks have been drawn anew: [block, selector].
let next;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const still = matchMedia("(prefers-reduced-motion: reduce)");

// Not through style attributes: the content security policy forbids those that a morph would copy.
const shift = (selector, y) => sheet.replaceSync(`${selector} { translate: 0 ${y}px }`);

customElements.define("stack-editor", class extends HTMLElement {
  connectedCallback() {
    if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets.push(sheet);
    sheet.replaceSync("");
    this.stop = new AbortController();
    const on = (target, name, act) => target.addEventListener(name, act, { signal: this.stop.signal });
    on(this, "pointerdown", (event) => this.grab(event));
    on(this, "pointermove", (event) => this.drag && (this.drag.y = event.clientY));
    on(this, "pointerup", () => this.drop());
    on(this, "pointercancel", () => this.drop(true));
    on(this, "keydown", (event) => this.key(event));
    on(this, "click", (event) => this.pressed(event.target.closest("[name=action]")));
    // Not on this: a block that is put elsewhere loses the focus.
    on(document, "keydown", (event) => event.key === "Escape" && this.drop(true));
    on(this, "dblclick", (event) => this.cut(event));
    on(document, "htmx:after:swap", ({ target }) => target.id === "check-now" || this.answered());
    this.settle();
  }

  disconnectedCallback() {
    this.stop.abort();
    cancelAnimationFrame(this.drag?.frame);
  }

  // From the top down, as drawn.
  get blocks() {
    return [...this.querySelectorAll(".block")];
  }

  settle() {
    if (!next) return;
    const [index, selector] = next;
    next = undefined;
    const block = this.querySelector(`[data-block="${clamp(index, 0, this.blocks.length - 1)}"]`);
    const place = block?.querySelector(selector);
    (place?.disabled === false ? place : block?.querySelector(".grip"))?.focus();
  }

  // The answer to an edit is there, even if it changed nothing.
  answered() {
    this.moving = next = undefined;
  }

  press(action, index, selector = ".grip") {
    next = [index, selector];
    const button = this.querySelector("[data-does]");
    button.value = action;
    button.click();
  }

  // A button of the server's own: the focus goes where its block will be.
  pressed(button) {
    if (!button || button.matches("[data-does]")) return;
    const [, verb, index] = button.value.split(":");
    const by = { up: 1, down: -1, duplicate: 1 }[verb] ?? 0;
    next = [Number(index) + by, button.dataset.do ? `[data-do="${verb}"]` : ".grip"];
  }

  // A block is split between the two layers nearest to the pointer.
  cut(event) {
    const bars = event.target.closest(".strip")?.querySelector(".bars");
    const box = bars?.getBoundingClientRect();
    const at = Math.round((box?.bottom - event.clientY) / bars?.dataset.pitch);
    const index = Number(event.target.closest(".block")?.dataset.block);
    if (at > 0 && at < Math.round(box.height / bars.dataset.pitch)) this.press(`stack:split:${index}:${at}`, index);
  }

  key(event) {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const block = event.target.closest(".block");
    if (!by || !event.altKey || event.ctrlKey || event.metaKey || !block || this.drag) return;
    event.preventDefault();
    const from = Number(block.dataset.block);
    // Pressed again before the answer to the first press is there: one move, farther.
    const last = this.moving?.from === from ? this.moving.to : from;
    const to = clamp(last + by, 0, this.blocks.length - 1);
    if (to === last) return;
    this.moving = { from, to };
    const field = event.target.name?.startsWith("slice.") && event.target.name.split(".").slice(2).join(".");
    this.press(`stack:move:${from}:${to}`, to, field ? `[name$=".${field}"]` : ".grip");
  }

  grab(event) {
    const held = event.target.closest(".grip, .edge");
    if (!held || event.button || this.drag) return;
    event.preventDefault();
    held.focus?.({ focusVisible: false });
    this.setPointerCapture(event.pointerId);
    const block = held.closest(".block");
    this.drag = { block, from: event.clientY, y: event.clientY, edge: held.dataset.edge, order: this.blocks };
    if (this.drag.edge) this.measure(this.drag);
    else block.toggleAttribute("data-held", true);
    this.toggleAttribute("data-dragging", true);
    this.frame();
  }

  frame() {
    const { drag } = this;
    drag.frame = requestAnimationFrame(() => this.frame());
    if (drag.edge) this.trim(drag);
    else this.carry(drag);
  }

  carry(drag) {
    const { block, y } = drag;
    const toward = y < NEAR ? -SCROLL : y > innerHeight - NEAR ? SCROLL : 0;
    if (toward && y !== drag.from) {
      const before = scrollY;
      scrollBy(0, toward);
      drag.from -= scrollY - before;
    }
    const middle = (one) => one.offsetTop + one.offsetHeight / 2;
    const at = middle(block) + y - drag.from;
    const above = block.previousElementSibling;
    const below = block.nextElementSibling;
    if (above && at < middle(above)) this.swap(drag, above, () => above.before(block));
    else if (below && at > middle(below)) this.swap(drag, below, () => below.after(block));
    shift("[data-held] > .sheet", y - drag.from);
  }

  swap(drag, other, act) {
    const before = [drag.block.offsetTop, other.offsetTop];
    act();
    drag.from += drag.block.offsetTop - before[0];
    if (!still.matches) {
      other.animate({ translate: [`0 ${before[1] - other.offsetTop}px`, "0 0"] }, { duration: 160, easing: "ease-out" });
    }
  }

  // The fields and the picture of the block whose edge is held.
  measure(drag) {
    const [first, last] = drag.block.querySelectorAll("[name$='.0.first'], [name$='.0.last']");
    drag.bars = drag.block.querySelector(".bars");
    drag.told = drag.block.querySelector("header .num");
    Object.assign(drag, { first, last, begin: Number(first.value), end: Number(last.value) });
    drag.pitch = Number(drag.bars.dataset.pitch);
    drag.tall = drag.block.offsetHeight;
  }

  trim(drag) {
    const { first, last, begin, end, pitch, bars, block } = drag;
    const by = Math.round((drag.from - drag.y) / pitch);
    const most = Number(last.max || end + 1000);
    if (drag.edge === "last") last.value = clamp(end + by, begin, Math.max(end, most));
    else first.value = clamp(begin + by, 0, Math.max(begin, end));
    const count = last.value - first.value + 1;
    if (count === drag.count) return;
    drag.count = count;
    bars.setAttribute("height", count * pitch);
    drag.told.textContent = `${count} ${count === 1 ? "layer" : "layers"}`;
    // What lies below stays where it is when the upper edge moves.
    if (drag.edge === "last") shift(".blocks", drag.tall - block.offsetHeight);
  }

  drop(undo) {
    const { drag } = this;
    if (!drag) return;
    cancelAnimationFrame(drag.frame);
    if (drag.edge) this.trim(drag);
    else this.carry(drag);
    this.drag = undefined;
    drag.block.removeAttribute("data-held");
    this.removeAttribute("data-dragging");
    sheet.replaceSync("");
    if (drag.edge) this.trimmed(drag, undo);
    else this.carried(drag, undo);
  }

  trimmed(drag, undo) {
    const { first, last, block } = drag;
    if (undo) {
      [first.value, last.value, drag.count] = [drag.begin, drag.end, 0];
      Object.assign(drag, { y: drag.from });
      this.trim(drag);
      sheet.replaceSync("");
    } else if (drag.edge === "last") scrollBy(0, block.offsetHeight - drag.tall);
    const field = drag.edge === "last" ? last : first;
    if (!undo && Number(field.value) !== (drag.edge === "last" ? drag.end : drag.begin)) {
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }

  carried(drag, undo) {
    const from = Number(drag.block.dataset.block);
    const to = this.blocks.length - 1 - this.blocks.indexOf(drag.block);
    if (undo) this.querySelector(".blocks").append(...drag.order);
    else if (to !== from) this.press(`stack:move:${from}:${to}`, to);
  }
});
