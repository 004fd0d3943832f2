"""The recipe that the builder page carries from request to request. Its YAML is all the state there is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.recipe.edits import act
from app.recipe.findings import Finding, Refused
from app.recipe.form import apply
from app.recipe.from_card import recipe_text
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe
from app.recipe.writing import write_recipe
from app.web.pages.posted import Fields
from app.web.pages.typed import typed_reference

EMPTY = Recipe("linear")
_WHOLE_TEXT = {"import": "recipe", "look": "recipe", "yaml": "yaml"}
"""Actions that bring a text of their own, and the field it comes in."""


@dataclass(frozen=True)
class Draft:
    """A recipe in the making.

    ``text`` is its YAML; ``recipe`` what it says, None when it cannot be read; ``findings`` are the remarks of reading
    it, ``problems`` those on single fields of the form; ``reshaped``: a button changed more than a field's value.
    """

    text: str
    recipe: Recipe | None
    findings: tuple[Finding, ...] = ()
    problems: tuple[Finding, ...] = ()
    reshaped: bool = False

    @property
    def broken(self) -> bool:
        return self.recipe is None

    @property
    def complete(self) -> bool:
        """Whether it says enough to be checked against its models."""
        return self.recipe is not None and not any(one.level == "error" for one in (*self.findings, *self.problems))


def from_text(text: str) -> Draft:
    """The draft that a text says. An empty text is an empty draft."""
    text = text.replace("\r\n", "\n").strip("\n")
    if not text.strip():
        return Draft("", EMPTY)
    reading = read_recipe(text)
    return Draft(text + "\n", reading.draft, reading.findings)


def from_form(fields: Fields) -> Draft:
    """The draft after the edits in a posted form, and after its button if one was pressed."""
    action = fields.get("action", "")
    if action in _WHOLE_TEXT:
        return replace(from_text(recipe_text(fields.get(_WHOLE_TEXT[action], ""))), reshaped=True)
    before = from_text(fields.get("recipe", ""))
    if before.recipe is None:
        return before
    recipe, problems = apply(before.recipe, fields)
    recipe, more = _press(recipe, action, fields.get("add", ""))
    if recipe == before.recipe:
        return replace(before, problems=(*problems, *more))
    after = from_text(write_recipe(recipe)) if recipe != EMPTY else from_text("")
    return replace(after, problems=(*problems, *more), reshaped=bool(action) and action != "apply")


def _press(recipe: Recipe, action: str, typed: str) -> tuple[Recipe, tuple[Finding, ...]]:
    """Do what a button says. A refusal is told and changes nothing."""
    if action in ("apply", "check") and typed.strip():
        action = "add"  # Enter in the field for a model, where no script runs
    if action in ("", "apply", "check"):
        return recipe, ()
    try:
        return act(recipe, f"add:{typed_reference(typed)}" if action == "add" else action), ()
    except Refused as problem:
        return recipe, problem.findings
