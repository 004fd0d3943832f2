// Loads an element's script and style sheet when it first shows: <curve-editor data-script="…" data-sheet="…">. With data-later
// not before something on the page changes; with data-awaits not before it is opened or focused, or a file comes.
function load(element) {
  if (!element?.matches("[data-script]:not(:defined)")) return;
  const { script, sheet } = element.dataset;
  if (sheet) document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: sheet }));
  import(script);
}

function look(but) {
  document.querySelectorAll(`[data-script]:not([data-awaits]:not(:focus-within, :popover-open), [role=tabpanel][hidden] *${but})`).forEach(load);
}

const LATER = ", [data-later]";
for (const name of ["htmx:after:swap", "tab-shown"]) document.addEventListener(name, () => look(""));
for (const name of ["focusin", "toggle"]) document.addEventListener(name, () => look(LATER), true);
document.addEventListener("dragenter", () => load(document.querySelector("file-import")));
look(LATER);
