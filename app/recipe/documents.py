"""Several YAML documents in one text: recipes that use each other's results by name.

One document is the recipe itself: the one without a name, else the last. The others are its stages. They may stand in
any order in the text; here each comes behind those it uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from app.recipe.findings import Finding, Refused
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef, Recipe

_NAMELESS = "last document"


def join_documents(recipes: Sequence[Recipe]) -> tuple[Recipe, list[Finding]]:
    """The recipe with its stages, and what is wrong with their names."""
    if len(recipes) == 1:
        return recipes[0], []
    last = recipes[the_recipe([recipe.name for recipe in recipes])]
    stages = [recipe for recipe in recipes if recipe is not last]
    findings = [*_names(stages, sum(recipe.name is None for recipe in recipes))]
    if findings:
        return last, findings
    named = {ModelRef(stage.name): stage for stage in stages if stage.name}
    ordered, circle = _in_order(last, named)
    findings += circle
    findings += _with_more(recipes, named)
    unused = [stage for stage in stages if stage not in ordered]
    for stage in unused if not circle else ():
        text = f'The document "{stage.name}" is not used by any other and is not merged.'
        findings.append(Finding("warning", "unused-document", str(stage.name), text, "Use its name as a model."))
    return replace(last, stages=(*ordered, *unused)), findings


def the_recipe(names: Sequence[str | None]) -> int:
    """Which of the documents with these names is the recipe itself."""
    nameless = [index for index, name in enumerate(names) if name is None]
    return nameless[-1] if nameless else len(names) - 1


def used_stages(recipe: Recipe) -> tuple[Recipe, ...]:
    """The stages that the recipe needs, directly or through others, in order."""
    named = {ModelRef(stage.name): stage for stage in recipe.stages if stage.name}
    needed = _needed(recipe, named)
    return tuple(stage for ref, stage in named.items() if ref in needed)


def told(findings: Iterable[Finding], recipe: Recipe) -> Iterator[Finding]:
    """Remarks on one of several documents, which they name."""
    name = recipe.name or _NAMELESS
    return (replace(one, where=f"{name}: {one.where}" if one.where else name) for one in findings)


@contextmanager
def naming(recipe: Recipe) -> Iterator[None]:
    """Refusals inside are told as remarks on this one of several documents."""
    try:
        yield
    except Refused as problem:
        raise Refused(told(problem.findings, recipe)) from problem


def meant(where: str, names: Sequence[str | None]) -> tuple[int, str] | None:
    """What ``told`` said: the document that a remark is about, as an index into ``names``, and the place there. The
    recipe itself where none is named; None where several could be meant."""
    if len(names) == 1:
        return 0, where
    found = [index for index, name in enumerate(names) if _is_in(name or _NAMELESS, where)]
    if not found:
        return the_recipe(names), where
    longest = max(len(names[index] or _NAMELESS) for index in found)
    found = [index for index in found if len(names[index] or _NAMELESS) == longest]
    return (found[0], where[longest:].removeprefix(": ")) if len(found) == 1 else None


def _is_in(name: str, where: str) -> bool:
    return where == name or where.startswith(f"{name}: ")


def _names(stages: Sequence[Recipe], nameless: int) -> Iterator[Finding]:
    if nameless > 1:
        text = f"{nameless} documents have no name, so it is not clear which of them is the recipe."
        yield Finding("error", "unnamed-document", "", text, "Give a name to all but the one that is to be the result.")
        return
    names = [stage.name or "" for stage in stages]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            text = f'{names.count(name)} documents are called "{name}".'
            yield Finding("error", "repeated-name", name, text, "Give each a name of its own.")
        elif not can_be_used(name):
            text = f'"{name[:60]}" cannot be written where a model is named.'
            yield Finding("error", "bad-document-name", name[:60], text, "Name it with letters and dashes.")


def can_be_used(name: str) -> bool:
    try:
        return parse_reference(name) == ModelRef(name)
    except Refused:
        return False


def _in_order(last: Recipe, named: Mapping[ModelRef, Recipe]) -> tuple[list[Recipe], list[Finding]]:
    """The stages that ``last`` needs, each behind those it uses itself. In the order of the text where that is free."""
    needed = _needed(last, named)
    left = [ref for ref in named if ref in needed]
    ordered: list[Recipe] = []
    while left:
        ready = next((ref for ref in left if not set(named[ref].own_parents()) & set(left)), None)
        if ready is None:
            names = " and ".join(f'"{ref}"' for ref in left[:3])
            text = f"{names} use each other's results, so none can be made first."
            return ordered, [Finding("error", "circular-documents", str(left[0]), text, "Break the circle.")]
        ordered.append(named[ready])
        left.remove(ready)
    return ordered, []


def _needed(last: Recipe, named: Mapping[ModelRef, Recipe]) -> set[ModelRef]:
    found: set[ModelRef] = set()
    waiting = [last]
    while waiting:
        new = [ref for ref in waiting.pop().own_parents() if ref in named and ref not in found]
        found.update(new)
        waiting += [named[ref] for ref in new]
    return found


def _with_more(recipes: Sequence[Recipe], named: Mapping[ModelRef, Recipe]) -> Iterator[Finding]:
    """A stage's name stands alone: it has no revisions, and no adapter goes on it."""
    for recipe in recipes:
        for ref in recipe.own_parents():
            if ref not in named and ModelRef(ref.name) in named:
                text = f'"{ref}": {ref.name} is a document of this recipe and has neither revisions nor adapters.'
                yield Finding("error", "bad-reference", str(ref), text, f"Write {ref.name} alone.")
