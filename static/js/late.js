// Loads an element's script when the element first shows: <curve-editor data-script="…">; with data-later not before
// something on the page changes, with data-awaits not before it is opened, gets the focus, or a file is dragged in.
function load(element) {
  if (element?.dataset?.script) import(element.dataset.script);
}

function look(but) {
  document.querySelectorAll(`[data-script]:not(:defined, [data-awaits], [role=tabpanel][hidden] *${but})`).forEach(load);
}

for (const name of ["htmx:after:swap", "tab-shown"]) document.addEventListener(name, () => look(""));
document.addEventListener("toggle", ({ target }) => load(target), true);
document.addEventListener("focusin", ({ target }) => load(target.closest("[data-script]")));
document.addEventListener("dragenter", () => load(document.querySelector("file-import")));
look(", [data-later]");
