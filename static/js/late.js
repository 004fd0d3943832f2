// Loads an element's script when the element first shows: <curve-editor data-script="…">; with data-later not before
// something on the page changes.
function look(but) {
  const waiting = document.querySelectorAll(`[data-script]:not(:defined, [role=tabpanel][hidden] *${but})`);
  for (const element of waiting) import(element.dataset.script);
}

for (const name of ["htmx:after:swap", "tab-shown"]) document.addEventListener(name, () => look(""));
look(", [data-later]");
