"""The strip above the builder: a recipe's documents one after the other, and the modules of the one that is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.planning.facts import ModelFacts
from app.planning.layers import Structure, read_structure
from app.planning.parts import Parts, called, find_parts
from app.recipe.catalogue import METHODS
from app.recipe.counted import counted
from app.recipe.schema import ModelRef, Recipe
from app.recipe.section_edits import can_move
from app.recipe.sections import Section, usable


@dataclass(frozen=True, slots=True)
class Step:
    """One document. ``title`` is its method and how many models go in."""

    index: int
    name: str
    title: str
    shown: bool
    is_result: bool


@dataclass(frozen=True, slots=True)
class ModuleCard:
    """One part of the model that gives the result its shape. ``merged``: the recipe says how; else it stays. ``action``
    is the button that opens it or has it merged."""

    name: str
    merged: bool
    shown: bool
    action: str


@dataclass(frozen=True)
class Strip:
    """``section`` is what the form shows; ``offered`` are results that it could take in; ``can_go_up`` and
    ``can_go_down``: whether its document could be merged earlier or later."""

    section: Section
    name: str
    steps: tuple[Step, ...]
    modules: tuple[ModuleCard, ...]
    offered: tuple[str, ...]
    can_go_up: bool
    can_go_down: bool

    @property
    def several(self) -> bool:
        return len(self.steps) > 1

    @property
    def matters(self) -> bool:
        """Whether there is more than one thing that the form could show."""
        return self.several or bool(self.section.module)

    @property
    def is_result(self) -> bool:
        return self.section.document == len(self.steps) - 1


def strip(recipe: Recipe, section: Section, facts: Mapping[ModelRef, ModelFacts]) -> Strip:
    shown = recipe.documents[section.document]
    taken = {str(ref) for ref in shown.own_parents()}
    steps = tuple(_step(recipe, at, one, section) for at, one in enumerate(recipe.documents))
    return Strip(
        section=section,
        name=steps[section.document].name,
        steps=steps,
        modules=tuple(_modules(shown, section, facts)),
        offered=tuple(name for name in usable(recipe, section) if name not in taken),
        can_go_up=can_move(recipe, section.document, -1),
        can_go_down=can_move(recipe, section.document, 1),
    )


def _step(recipe: Recipe, at: int, document: Recipe, section: Section) -> Step:
    last = at == len(recipe.stages)
    method = METHODS.get(document.merge_method)
    count = len(document.own_parents())
    title = f"{method.title if method else 'A merge'} of {counted(count, 'model')}"
    return Step(at, (document.name or "") if not last else "result", title, at == section.document, last)


def _modules(document: Recipe, section: Section, facts: Mapping[ModelRef, ModelFacts]) -> Iterator[ModuleCard]:
    """Those of the recipe, then what else the models consist of. Of plain models the parts they have, if several."""
    place = section.document
    for name in document.modules:
        yield ModuleCard(name, True, name == section.module, f"document:open:{place}/{name}")
    framed = None if document.slices else _frame(document, facts)
    if framed:
        parts, _ = framed
        verb = "merge" if document.modules else "apart"
        merged = {part.name for name in document.modules if (part := parts.find(name))}
        left = [called(part) for name, part in parts.parts.items() if name not in merged]
        yield from (ModuleCard(name, False, False, f"document:{verb}:{place}/{name}") for name in left)


def draws_layers(document: Recipe, section: Section, facts: Mapping[ModelRef, ModelFacts]) -> bool:
    """Whether the layers of the loom are those of the section: of several parts it draws those of one."""
    framed = _frame(document, facts) if section.module else None
    if framed is None:
        return True
    parts, structure = framed
    part = parts.find(section.module)
    return part is not None and any(name.startswith(f"{structure.main}.") for name in part.names)


def _frame(document: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> tuple[Parts, Structure] | None:
    """The parts of the first model that has several, those of the recipe's modules among them."""
    for ref in document.own_parents():
        if ref in facts:
            structure = read_structure(facts[ref])
            parts = find_parts(facts[ref], structure)
            if parts.several and all(parts.find(name) for name in document.modules):
                return parts, structure
    return None
