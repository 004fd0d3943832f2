// Keys for the whole page: / search, ? help, g then b, j, m or r to go somewhere. Never while somebody types.
const PLACES = { b: "/", j: "/jobs", m: "/models", r: "/recipes" };
let waiting = 0;

const TEXT = "input:not([type=range], [type=checkbox], [type=radio]), textarea, select";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.target.closest(TEXT)) return;
  const place = Date.now() < waiting && PLACES[event.key];
  waiting = 0;
  if (place) location.href = place;
  else if (event.key === "g") waiting = Date.now() + 1500;
  else if (event.key === "?") document.getElementById("help").togglePopover();
  else if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search").focus();
  }
});
