"""The recipe that the builder page carries from request to request. Its YAML is all the state there is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from app.recipe import filters, fixes, stack
from app.recipe.edits import act
from app.recipe.findings import Finding, Refused
from app.recipe.form import apply
from app.recipe.from_card import recipe_text
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe
from app.recipe.writing import write_recipe
from app.web.pages.posted import Fields
from app.web.pages.remembered import Remembered, remembered
from app.web.pages.typed import typed_reference

EMPTY = Recipe("linear")
_WHOLE_TEXT = {"import": "recipe", "look": "recipe", "yaml": "yaml"}
"""Actions that bring a text of their own, and the field it comes in."""


@dataclass(frozen=True)
class Draft:
    """A recipe in the making.

    ``text`` is its YAML; ``recipe`` what it says, None when it cannot be read; ``findings`` are the remarks of reading
    it, ``problems`` those on single fields of the form; ``reshaped``: a button changed more than a field's value;
    ``refused``: why a button did nothing; ``remembered``: what the form carried besides.
    """

    text: str
    recipe: Recipe | None
    findings: tuple[Finding, ...] = ()
    problems: tuple[Finding, ...] = ()
    reshaped: bool = False
    refused: tuple[Finding, ...] = ()
    remembered: Remembered = field(default_factory=Remembered)

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
    return replace(_edited(fields), remembered=remembered(fields))


def _edited(fields: Fields) -> Draft:
    action = fields.get("action", "")
    if action in _WHOLE_TEXT:
        return replace(from_text(recipe_text(fields.get(_WHOLE_TEXT[action], ""))), reshaped=True)
    before = from_text(fields.get("recipe", ""))
    if action.startswith(fixes.PREFIX):
        return _fixed(before, fields)
    if before.recipe is None:
        return before
    recipe, problems = apply(before.recipe, fields)
    recipe, refused = _press(recipe, action, fields)
    if recipe == before.recipe:
        return replace(before, problems=problems, refused=refused)
    after = from_text(write_recipe(recipe)) if recipe != EMPTY else from_text("")
    return replace(after, problems=problems, refused=refused, reshaped=bool(action) and action != "apply")


def _fixed(before: Draft, fields: Fields) -> Draft:
    """The draft after a finding's one-click fix, and after the form's edits where there is a form."""
    recipe, problems = (None, ()) if before.recipe is None else apply(before.recipe, fields)
    text = write_recipe(recipe) if recipe is not None and recipe != before.recipe else before.text
    try:
        after = from_text(fixes.apply_fix(text, fields["action"]))
    except Refused as problem:
        return replace(before, problems=problems, refused=problem.findings)
    return replace(after, problems=problems, reshaped=True)


def _press(recipe: Recipe, action: str, fields: Fields) -> tuple[Recipe, tuple[Finding, ...]]:
    """Do what a button says. A refusal is told and changes nothing."""
    typed = fields.get("add", "")
    if action in ("apply", "check") and typed.strip():
        action = "add"  # Enter in the field for a model, where no script runs
    elif action in ("apply", "check"):
        action = filters.typed(fields) or action
    if action in ("", "apply", "check"):
        return recipe, ()
    try:
        if action.startswith("stack:"):
            return stack.act(recipe, _stack_action(action, fields), remembered(fields).counts(recipe)), ()
        if action.startswith(filters.PREFIX):
            return filters.act(recipe, action.removeprefix(filters.PREFIX), fields), ()
        return act(recipe, f"add:{typed_reference(typed)}" if action == "add" else action), ()
    except Refused as problem:
        return recipe, problem.findings


def _stack_action(action: str, fields: Fields) -> str:
    """Without its first word; a pattern with the parents that were chosen for it."""
    action = action.removeprefix("stack:")
    chosen = [fields[name] for name in ("stack.of", "stack.with") if name in fields]
    return ":".join([action, *chosen]) if action.startswith("pattern:") else action
