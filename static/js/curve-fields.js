// The form's fields that hold curves: "parent.1.weight", and "parent.1.weight|mlp" for the modules named so.
export class CurveFields {
  // `host` takes in the fields for filters that the form has no field for yet.
  constructor(host) {
    this.host = host;
    this.form = host.closest("form");
    this.waiting = new Map();
  }

  // [filter, text] of a line, the one for all modules last.
  rules(line) {
    const fields = [...this.form.elements].filter((one) => one.name === line.field || one.name.startsWith(`${line.field}|`));
    const rules = fields.map((one) => [one.name.slice(line.field.length + 1), one.value.trim()]);
    return rules.filter(([, text]) => text).sort(([one], [other]) => !one - !other);
  }

  name(line, filter) {
    return filter ? `${line.field}|${filter}` : line.field;
  }

  put(name, value) {
    let field = this.form.elements.namedItem(name);
    if (!field) {
      field = Object.assign(document.createElement("input"), { type: "hidden", className: "edits", name });
      this.host.append(field);
    }
    field.value = value;
    this.waiting.set(name, value);
  }

  // Tell the form, which then posts itself.
  post(name) {
    this.form.elements.namedItem(name).dispatchEvent(new Event("change", { bubbles: true }));
  }

  // A check takes no edit along, and one may start with the answer to an older edit.
  sent({ target, detail }) {
    if (this.form.contains(target) && detail.ctx.request.action === "/build") this.waiting.clear();
  }

  // The page has changed. An answer to an older edit must not undo a newer one that waits to be sent.
  settle() {
    for (const own of this.host.querySelectorAll("[type=hidden]")) own.remove();
    for (const [name, value] of this.waiting) this.put(name, value);
  }
}
