"""The recipe of a merge or mixture that somebody published: the file that travels with it, else the block in its
card."""

from __future__ import annotations

from collections.abc import Sequence

from app.experts.from_card import mixture_text
from app.experts.planning import RECIPE_FILE
from app.library.facts import Library
from app.library.headers import Piece
from app.recipe.findings import refuse
from app.recipe.from_card import recipe_text
from app.recipe.reading import read_recipe
from app.recipe.safe_yaml import MAX_BYTES
from app.recipe.schema import ModelRef

FILES: Sequence[str] = (RECIPE_FILE, "mergekit_config.yml", "mergekit_config.yaml", "README.md")
_LONGEST = {"README.md": 2 * MAX_BYTES}


def published_recipe(library: Library, ref: ModelRef) -> str:
    """The recipe's text. Raises Refused when the model cannot be read, or holds none."""
    source = library.files(ref)
    there = [name for name in FILES if name in source.files]
    for name in there:
        size = min(source.files[name].size, _LONGEST.get(name, MAX_BYTES + 1))
        text = source.read([Piece(name, 0, size)])[0].decode("utf-8", errors="replace")
        mixture = mixture_text(text)
        found = recipe_text(text) if name == "README.md" and not mixture else mixture or text
        if name != "README.md" or (found != text and (mixture or read_recipe(found).draft is not None)):
            return found
    looked = "its card holds no recipe" if "README.md" in there else "it has no card"
    raise refuse(
        "no-published-recipe", str(ref), f"{ref} has no mergekit_config.yml, and {looked}.",
        "Ask its owner for the recipe, or pick another model.",
    )  # fmt: skip
