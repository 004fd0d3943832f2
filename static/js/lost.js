// Tells that the server does not answer. Once it does, or htmx has come, what was changed meanwhile is sent.
const lost = document.getElementById("lost");
const send = () => document.querySelector("#build [value=apply]")?.click();
const typed = (one) => one.checked !== one.defaultChecked || one.value !== (one.defaultValue ?? one.querySelector("[selected]")?.value);
addEventListener("DOMContentLoaded", () => [...document.querySelectorAll(".edits")].some(typed) && send());
document.addEventListener("htmx:error", ({ detail }) => (lost.hidden &&= !detail.ctx));
document.addEventListener("htmx:after:request", ({ target }) => {
  if (!lost.hidden && !target.closest("#build")) send();
  lost.hidden = true;
});
