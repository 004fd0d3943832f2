// A change waits a moment before the form sends itself. A button pressed meanwhile takes it along; sent after it, it would cut it off.
let pressed;

document.addEventListener("htmx:config:request", (event) => {
  const { ctx } = event.detail;
  if (ctx.sourceElement.name === "action") pressed = ctx;
  else if (pressed && ctx.sourceElement.id === "build") event.preventDefault();
});
document.addEventListener("htmx:finally:request", ({ detail }) => pressed === detail.ctx && (pressed = undefined));
