"""Recipes by modules: each part of a checkpoint merged by itself, with models and slices of its own.

One parent, the frame, gives the result its shape: config, names, and what no module speaks of. In the other parents
a part may be called otherwise, or be all there is (a language model beside the language part of a vision-language
model): their tensors are taken under the frame's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from app.planning.facts import TensorFacts
from app.planning.ledger import TENSORS, Ledger
from app.planning.outline import Kept, Outline, PartStack, Wanted, outline_group
from app.planning.parents import Parents
from app.planning.parts import WHOLE, Part, Parts, find_parts
from app.recipe.catalogue import Method
from app.recipe.findings import Finding, Refused, did_you_mean
from app.recipe.schema import ModelRef, Module, Recipe, Source


@dataclass(frozen=True)
class Modular:
    """``outline`` for ``parents``, whose tensors are called as in the result. ``frame`` is an index of them."""

    outline: Outline
    parents: Parents
    frame: int
    findings: tuple[Finding, ...]


def outline_modules(recipe: Recipe, method: Method, parents: Parents) -> Modular:
    """Raises Refused when a module is not found, or its parents cannot be laid beside each other."""
    laid = _Laid(recipe, parents)
    views = {name: laid.view(name, module) for name, module in recipe.modules.items()}
    wanted: list[Wanted] = []
    stacks: list[PartStack] = []
    for name, module in recipe.modules.items():
        asked = replace(recipe, models=module.models, slices=module.slices, modules={})
        scopes = (module.parameters, recipe.parameters)
        made = outline_group(asked, method, views[name], scopes, f"modules.{name}.")
        wanted += made.wanted
        if made.stacked is not None:
            stacks.append(PartStack(made.stacked, made.structure.layers, laid.part(name).role))
    seen = {one.name for one in wanted}
    covered = {name for part in laid.found.values() for name in part.names}
    kept = tuple(name for name in parents.facts[laid.frame].tensors if name not in seen and name not in covered)
    structure = parents.structures[laid.frame]
    wanted.sort(key=lambda one: structure.order(one.name))
    shown = _together(parents, views.values(), laid.frame)
    about = tuple(laid.ledger.findings())
    outline = Outline(tuple(wanted), structure, None, tuple(stacks), Kept(laid.frame, kept))
    return Modular(outline, shown, laid.frame, about)


class _Laid:
    """The modules of one recipe and the parts they stand for."""

    def __init__(self, recipe: Recipe, parents: Parents) -> None:
        self.recipe, self.parents = recipe, parents
        self.ledger = Ledger()
        self.frame = self._frame()
        self.found = self._find()

    @cached_property
    def parts(self) -> tuple[Parts, ...]:
        both = zip(self.parents.facts, self.parents.structures, strict=True)
        return tuple(find_parts(facts, structure) for facts, structure in both)

    def part(self, name: str) -> Part:
        return self.found[name]

    def _frame(self) -> int:
        """The first parent, the base before the others, that has all modules; one of several parts if there is one."""
        names = list(self.recipe.modules)
        having = [index for index, parts in enumerate(self.parts) if all(parts.find(name) for name in names)]
        having.sort(key=lambda index: not self.parts[index].several)
        if having:
            return having[0]
        return max(
            range(len(self.parts)), key=lambda index: sum(self.parts[index].find(one) is not None for one in names)
        )

    def _find(self) -> dict[str, Part]:
        parts, who = self.parts[self.frame], self.parents.name(self.frame)
        found: dict[str, Part] = {}
        problems = []
        for name in self.recipe.modules:
            part = parts.find(name)
            double = next((other for other, one in found.items() if part and set(one.names) & set(part.names)), None)
            if part is None:
                problems.append(_unknown(name, who, parts))
            elif double is not None:
                text = f'"{double}" and "{name}" both mean {part.prefix or "the whole model"} of {who}.'
                problems.append(Finding("error", "module-twice", f"modules.{name}", text, "Keep one of them."))
            else:
                found[name] = part
        if problems:
            raise Refused(problems)
        return found

    def view(self, name: str, module: Module) -> Parents:
        """The parents with the tensors of this module alone, called as in the frame."""
        models = {source.model for source in _sources(module)} | {
            base for base in (self.recipe.base_model, *(piece.base_model for piece in module.slices)) if base
        }
        facts = tuple(
            replace(one, tensors={frame: one.tensors[own] for own, frame in self._names(name, index, ref, models)})
            for index, (ref, one) in enumerate(zip(self.parents.refs, self.parents.facts, strict=True))
        )
        return Parents(self.parents.refs, facts)

    def _names(self, name: str, index: int, ref: ModelRef, models: set[ModelRef]) -> Iterator[tuple[str, str]]:
        """(a parent's own tensor name, the frame's) for the tensors of a module."""
        if ref not in models:
            return
        mine = self.found[name]
        if index == self.frame:
            yield from ((one, one) for one in mine.names)
            return
        theirs = self._same_part(name, mine, index)
        if theirs is None:
            text = f"{ref} has no part that could be {name}. Its parts: {', '.join(self.parts[index].parts)}."
            fix = "Leave it out of this module, or name the module after a part that it has."
            raise Refused(Finding("error", "no-such-part", f"modules.{name}", text, fix))
        yield from self._renamed(mine, theirs, ref)

    def _same_part(self, name: str, mine: Part, index: int) -> Part | None:
        """What the module is in another parent: the part of that name or role, or all of it if it is one part only."""
        parts = self.parts[index]
        if not parts.several:
            return parts.parts[WHOLE]
        return parts.parts.get(mine.name) or parts.find(name) or parts.in_role(mine.role or None)

    def _renamed(self, mine: Part, theirs: Part, ref: ModelRef) -> Iterator[tuple[str, str]]:
        known = {mine.local(name): name for name in mine.names}
        frame = self.parents.facts[self.frame].tensors
        for own in theirs.names:
            local = theirs.local(own)
            name = known.get(local) or mine.named(local)
            if name is None or (local not in known and name in frame):
                text = f"{TENSORS} of {ref} has no place in this part and is left out."
                self.ledger.note(Finding("info", "no-place-in-part", str(ref), text), own)
            else:
                yield own, name


def _sources(module: Module) -> Iterator[Source]:
    yield from module.models
    for piece in module.slices:
        yield from piece.sources


def _together(parents: Parents, views: Iterable[Parents], frame: int) -> Parents:
    """The parents with the tensors of all modules; the frame with all it has."""
    merged: list[dict[str, TensorFacts]] = [{} for _ in parents.facts]
    for view in views:
        for mine, facts in zip(merged, view.facts, strict=True):
            mine.update(facts.tensors)
    shown = [replace(one, tensors=mine) for one, mine in zip(parents.facts, merged, strict=True)]
    shown[frame] = parents.facts[frame]
    return Parents(parents.refs, tuple(shown))


def _unknown(name: str, who: str, parts: Parts) -> Finding:
    known = list(parts.parts)
    text = f'{who} has no part "{name[:60]}". Its parts: {", ".join(known)}.'
    if not parts.several:
        text = f'{who} consists of one part, and "{name[:60]}" is no name for it.'
    fix = did_you_mean(name, known) or "Name one of its parts, or the beginning of its tensors' names."
    return Finding("error", "unknown-module", f"modules.{name[:60]}", text, fix)
