// Loads an element's script when the element first shows: <curve-editor data-script="…">; with data-later not before
// something on the page changes.
function look(but) {
  for (const element of document.querySelectorAll(`[data-script]:not(:defined${but})`)) import(element.dataset.script);
}

document.addEventListener("htmx:after:swap", () => look(""));
look(", [data-later]");
