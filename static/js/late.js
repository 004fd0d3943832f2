// Loads an element's script when the element first shows: <curve-editor data-script="…">.
function look() {
  for (const element of document.querySelectorAll("[data-script]:not(:defined)")) import(element.dataset.script);
}

document.addEventListener("htmx:after:swap", look);
look();
