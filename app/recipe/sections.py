"""What the form edits at a time: one of a recipe's documents, or one module of it, as if it were a recipe by itself.

A place in a recipe is written ``2`` (the third document, in the order in which they are merged) or
``2/language_model`` (a module of it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from app.recipe.catalogue import METHODS
from app.recipe.documents import can_be_used
from app.recipe.findings import Refused, refuse
from app.recipe.renaming import renamed
from app.recipe.schema import ModelRef, Module, Parameters, Recipe, Setting, Slice, Source


@dataclass(frozen=True, slots=True)
class Section:
    """``document`` indexes ``Recipe.documents``; ``module`` names a module of that, or is empty."""

    document: int
    module: str = ""

    def __str__(self) -> str:
        return f"{self.document}/{self.module}" if self.module else str(self.document)


def find(recipe: Recipe, text: str) -> Section:
    """The section that a text names; the last document, which is the result, for one that is not there. Of a document
    made of modules always one of these."""
    number, _, module = text.partition("/")
    last = len(recipe.documents) - 1
    known = number.isascii() and number.isdigit() and len(number) < 6 and int(number) <= last
    index = int(number) if known else last
    modules = recipe.documents[index].modules
    return Section(index, module if known and module in modules else next(iter(modules), ""))


def alone(recipe: Recipe, section: Section) -> Recipe:
    """The section as a recipe of one document. What a module does not say is its document's."""
    document = replace(recipe.documents[section.document], stages=())
    module = document.modules.get(section.module)
    if module is None:
        return document
    parameters = MappingProxyType({**document.parameters, **module.parameters})
    return replace(
        document, models=module.models, slices=module.slices, modules=MappingProxyType({}), parameters=parameters
    )


def put(recipe: Recipe, section: Section, edited: Recipe) -> Recipe:
    """The recipe with a section edited. All else stays, but that other documents follow where one gets another name.

    Raises Refused for a name that cannot be used, and for a document that would need its own result.
    """
    before = recipe.documents[section.document]
    if section.module in before.modules:
        edited = _with_module(replace(before, stages=()), section.module, edited)
    if section.document == len(recipe.stages):
        return replace(edited, stages=recipe.stages)
    stages = list(recipe.stages)
    stages[section.document] = edited
    whole = replace(recipe, stages=tuple(stages))
    if edited.name != before.name:
        _check_name(recipe, section.document, edited.name or "")
        whole = _everywhere(whole, ModelRef(before.name or ""), ModelRef(edited.name or ""))
    return _in_order(whole)


def usable(recipe: Recipe, section: Section) -> tuple[str, ...]:
    """The documents whose results a section can take in, by name: those that do not need its own."""
    own = recipe.documents[section.document].name or ""
    last = section.document == len(recipe.stages)
    others = [stage.name or "" for stage in recipe.stages if last or stage.name != own]
    return tuple(name for name in others if last or own not in needs(recipe, name))


def needs(recipe: Recipe, name: str) -> set[str]:
    """The documents that one needs, directly or through others, itself included."""
    named = {stage.name or "": stage for stage in recipe.stages}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in named and one not in found:
            found.add(one)
            waiting += [str(ref) for ref in named[one].own_parents()]
    return found


def _with_module(document: Recipe, name: str, edited: Recipe) -> Recipe:
    """The document with a module as it was edited by itself; method, base and number format are the document's."""
    module = document.modules[name]
    own: dict[str, Setting] = {
        key: setting
        for key, setting in edited.parameters.items()
        if key in module.parameters or document.parameters.get(key) != setting
    }
    modules = {**document.modules, name: Module(edited.models, edited.slices, MappingProxyType(own))}
    if not edited.models and not edited.slices:
        del modules[name]  # what no module speaks of stays as in the model that gives the result its shape
    kept = {key: setting for key, setting in document.parameters.items() if key in edited.parameters}
    whole = replace(edited, models=(), slices=(), modules=MappingProxyType(modules), parameters=MappingProxyType(kept))
    return whole if edited.merge_method == document.merge_method else _fitting(whole)


def _fitting(document: Recipe) -> Recipe:
    """Without the parameters that the document's method does not know."""
    method = METHODS.get(document.merge_method)

    def known(parameters: Parameters) -> Parameters:
        return MappingProxyType({name: one for name, one in parameters.items() if method and method.parameter(name)})

    def of(sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(replace(one, parameters=known(one.parameters)) for one in sources)

    def pieces(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
        return tuple(replace(one, sources=of(one.sources), parameters=known(one.parameters)) for one in slices)

    modules = {
        name: Module(of(one.models), pieces(one.slices), known(one.parameters))
        for name, one in document.modules.items()
    }
    return replace(document, modules=MappingProxyType(modules), parameters=known(document.parameters))


def _check_name(recipe: Recipe, index: int, name: str) -> None:
    if not can_be_used(name):
        fix = "Name it with letters, digits and dashes."
        raise refuse("bad-document-name", "document.name", f'"{name[:60]}" cannot be used as a name.', fix)
    taken = [one.name for place, one in enumerate(recipe.documents) if place != index]
    models = {str(ref) for ref in recipe.parents()}
    if name in taken or name in models:
        raise refuse("repeated-name", "document.name", f'"{name[:60]}" is taken.', "Give each merge its own name.")


def _everywhere(recipe: Recipe, old: ModelRef, new: ModelRef) -> Recipe:
    stages = tuple(renamed(stage, old, new) for stage in recipe.stages)
    return replace(renamed(recipe, old, new), stages=stages)


def _in_order(recipe: Recipe) -> Recipe:
    """The stages with each behind those it uses. Raises Refused where none could be made first."""
    left, ordered = list(recipe.stages), list[Recipe]()
    while left:
        names = {stage.name or "" for stage in left}
        ready = next((one for one in left if not names & {str(ref) for ref in one.own_parents()}), None)
        if ready is None:
            text = "Merges cannot use each other's results: none could be made first."
            raise refuse("circular-documents", "", text, "Take the result of an earlier merge.")
        ordered.append(ready)
        left.remove(ready)
    return replace(recipe, stages=tuple(ordered))


def moved(recipe: Recipe, section: Section, name: str | None) -> Section:
    """Where a section's document is now, by its name; the last without one, and where it is gone."""
    found = (at for at, one in enumerate(recipe.stages) if name and one.name == name)
    return Section(next(found, len(recipe.stages)), section.module)


def gone() -> Refused:
    return refuse("unknown-action", "", "This merge is no longer part of the recipe.", "Reload the page.")
