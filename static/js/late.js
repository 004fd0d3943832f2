// Loads an element's script and style sheet when it first shows: <curve-editor data-script="…" data-sheet="…">. With data-later
// not before something on the page changes; with data-awaits not before it is opened or focused, or a file comes.
function load(element) {
  if (!element?.matches("[data-script]:not(:defined)")) return;
  const { script, sheet } = element.dataset;
  if (sheet) document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: sheet }));
  import(script);
}

function look(but) {
  document.querySelectorAll(`[data-script]:not([data-awaits], [role=tabpanel][hidden] *${but})`).forEach(load);
}

for (const name of ["htmx:after:swap", "tab-shown"]) document.addEventListener(name, () => look(""));
document.addEventListener("toggle", ({ target }) => load(target), true);
document.addEventListener("focusin", ({ target }) => load(target.closest("[data-awaits]")));
document.addEventListener("dragenter", () => load(document.querySelector("file-import")));
look(", [data-later]");
