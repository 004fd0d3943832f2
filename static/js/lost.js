// Tells that the server does not answer. Once it does, what was changed meanwhile is sent.
const lost = document.getElementById("lost");
document.addEventListener("htmx:error", ({ detail }) => (lost.hidden &&= !detail.ctx));
document.addEventListener("htmx:after:request", ({ target }) => {
  if (!lost.hidden && !target.closest("#build")) document.querySelector("#build [value=apply]")?.click();
  lost.hidden = true;
});
