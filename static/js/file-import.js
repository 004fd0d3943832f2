// <file-import>: fills the import box from a file, chosen or dropped. Of a .safetensors only the header is read.
const LARGEST_HEADER = 100_000_000;
const LONGEST_TEXT = 131_072;

async function recipeOf(file) {
  if (!file.name.endsWith(".safetensors")) {
    if (file.size > LONGEST_TEXT) throw new Error("This file is too long for a recipe or a card: 128 KiB at most.");
    return file.text();
  }
  if (file.size < 8) throw new SyntaxError();
  const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
  if (length > LARGEST_HEADER) throw new SyntaxError();
  const header = JSON.parse(await file.slice(8, 8 + length).text());
  const recipe = header.__metadata__?.weightloom;
  if (!recipe) throw new Error("This file carries no recipe.");
  return recipe;
}

const brings = ({ dataTransfer }) => dataTransfer?.types.includes("Files");

customElements.define("file-import", class extends HTMLElement {
  connectedCallback() {
    const input = this.querySelector("input[type=file]");
    const chosen = () => this.take(input.files[0]);
    input.addEventListener("change", chosen);
    chosen(); // a file may have been chosen while this script was on its way
    this.target = document.getElementById("drop-here");
    for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => this.over(event));
    document.addEventListener("dragleave", (event) => event.relatedTarget || this.target.hidePopover());
    document.addEventListener("drop", (event) => this.drop(event));
  }

  over(event) {
    if (!brings(event)) return;
    event.preventDefault();
    this.target.showPopover();
  }

  drop(event) {
    if (!brings(event)) return;
    event.preventDefault();
    this.target.hidePopover();
    this.showPopover();
    this.take(event.dataTransfer.files[0]);
  }

  async take(file) {
    if (!file) return;
    const told = this.querySelector("[role=status]");
    try {
      document.getElementById("import-text").value = await recipeOf(file);
      told.textContent = `Read from ${file.name}.`;
    } catch (error) {
      told.textContent = error instanceof SyntaxError ? "This file's header is damaged." : error.message;
    }
  }
});
