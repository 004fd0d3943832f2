// <draft-keeper>: keeps the recipe being built in this browser, and offers it again on an empty builder page.
const KEY = "weightloom.draft";

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

customElements.define("draft-keeper", class extends HTMLElement {
  connectedCallback() {
    this.observer = new MutationObserver(() => this.keep());
    this.observer.observe(this, { childList: true, subtree: true });
    this.keep();
  }

  disconnectedCallback() {
    this.observer.disconnect();
  }

  keep() {
    const recipe = this.querySelector("textarea[name=recipe]");
    if (!recipe) return;
    const offer = document.getElementById("draft-offer");
    if (offer) offer.hidden = true;
    if (recipe.dataset.parents !== "0") {
      try {
        localStorage.setItem(KEY, JSON.stringify({ title: recipe.dataset.title, recipe: recipe.value }));
      } catch {
        // A full or forbidden storage only means that nothing is kept.
      }
    } else if (offer && stored() && !recipe.value.trim()) {
      offer.hidden = false;
      offer.querySelector("[data-title]").textContent = stored().title;
      offer.querySelector("textarea").value = stored().recipe;
    }
  }
});
