"""The recipe that the builder page carries from request to request. Its YAML is all the state there is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from app.recipe import filters, fixes, section_edits, section_form, stack
from app.recipe.edits import act
from app.recipe.findings import Finding, Refused
from app.recipe.from_card import recipe_text
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, Recipe
from app.recipe.sections import Section, alone, find, moved, put, usable
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
    ``refused``: why a button did nothing; ``remembered``: what the form carried besides; ``section``: what of the
    recipe the form shows, None for all of it.
    """

    text: str
    recipe: Recipe | None
    findings: tuple[Finding, ...] = ()
    problems: tuple[Finding, ...] = ()
    reshaped: bool = False
    refused: tuple[Finding, ...] = ()
    remembered: Remembered = field(default_factory=Remembered)
    section: Section | None = None

    @property
    def broken(self) -> bool:
        return self.recipe is None

    @property
    def shown(self) -> Recipe | None:
        """What the form shows: one document, or a module of it, as if it were all there is."""
        return alone(self.recipe, self.section) if self.recipe and self.section else self.recipe

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
    return opened(replace(_edited(fields), remembered=remembered(fields)), fields.get("document", ""))


def opened(draft: Draft, section: str) -> Draft:
    """The draft with a section of it shown, by default its last document; one that shows a section stays as it is."""
    if draft.recipe is None or draft.section is not None:
        return draft
    return replace(draft, section=find(draft.recipe, section))


def _edited(fields: Fields) -> Draft:
    action = fields.get("action", "")
    if action in _WHOLE_TEXT:
        return replace(from_text(recipe_text(fields.get(_WHOLE_TEXT[action], ""))), reshaped=True)
    before = from_text(fields.get("recipe", ""))
    if action.startswith(fixes.PREFIX):
        return _fixed(before, fields)
    if before.recipe is None:
        return before
    recipe, section, problems = _filled_in(before.recipe, fields)
    recipe, section, refused = _press(recipe, section, action, fields)
    reshaped = bool(action) and action != "apply"
    if recipe == before.recipe:
        turned = action.startswith(section_edits.PREFIX)
        section = find(recipe, str(section))
        return replace(before, section=section, problems=problems, refused=refused, reshaped=turned)
    after = from_text(write_recipe(recipe)) if recipe != EMPTY else from_text("")
    return replace(_following(after, recipe, section), problems=problems, refused=refused, reshaped=reshaped)


def _following(after: Draft, recipe: Recipe, section: Section) -> Draft:
    """The draft with the same section shown as in the recipe that it was, wherever that document is now."""
    if after.recipe is None:
        return after
    name = next((stage.name for stage in recipe.stages[section.document :]), None)
    return replace(after, section=find(after.recipe, str(moved(after.recipe, section, name))))


def _filled_in(recipe: Recipe, fields: Fields) -> tuple[Recipe, Section, tuple[Finding, ...]]:
    return section_form.apply(recipe, find(recipe, fields.get("document", "")), fields)


def _fixed(before: Draft, fields: Fields) -> Draft:
    """The draft after a finding's one-click fix, and after the form's edits where there is a form."""
    if before.recipe is None:
        return _after_fix(before, fields["action"])
    recipe, section, problems = _filled_in(before.recipe, fields)
    edited = before if recipe == before.recipe else from_text(write_recipe(recipe))
    return replace(_following(_after_fix(edited, fields["action"]), recipe, section), problems=problems)


def _after_fix(edited: Draft, action: str) -> Draft:
    try:
        return replace(from_text(fixes.apply_fix(edited.text, action)), reshaped=True)
    except Refused as problem:
        return replace(edited, refused=problem.findings)


def _press(
    recipe: Recipe, section: Section, action: str, fields: Fields
) -> tuple[Recipe, Section, tuple[Finding, ...]]:
    """Do what a button says. A refusal is told and changes nothing."""
    if action in ("apply", "check"):  # Enter in a field, where no script runs
        action = "add" if fields.get("add", "").strip() else filters.typed(fields) or action
    if action in ("", "apply", "check"):
        return recipe, section, ()
    try:
        if action.startswith(section_edits.PREFIX):
            return *section_edits.act(recipe, action.removeprefix(section_edits.PREFIX)), ()
        return put(recipe, section, _pressed(recipe, section, action, fields)), section, ()
    except Refused as problem:
        return recipe, section, problem.findings


def _pressed(recipe: Recipe, section: Section, action: str, fields: Fields) -> Recipe:
    """The section after its own button. Raises Refused."""
    part = alone(recipe, section)
    if action.startswith("stack:"):
        return stack.act(part, _stack_action(action, fields), remembered(fields).counts(part))
    if action.startswith(filters.PREFIX):
        return filters.act(part, action.removeprefix(filters.PREFIX), fields)
    if action == "add":
        typed = fields.get("add", "").strip()
        made = ModelRef(typed) if typed in usable(recipe, section) else None
        return act(part, f"add:{made or typed_reference(typed)}")
    return act(part, action)


def _stack_action(action: str, fields: Fields) -> str:
    """Without its first word; a pattern with the parents that were chosen for it."""
    action = action.removeprefix("stack:")
    chosen = [fields[name] for name in ("stack.of", "stack.with") if name in fields]
    return ":".join([action, *chosen]) if action.startswith("pattern:") else action
