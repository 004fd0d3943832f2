"""Buttons of a recipe's documents: merge a result further, add another merge, put in another order, remove."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from types import MappingProxyType

from app.recipe.edits import new_source, remove
from app.recipe.findings import refuse
from app.recipe.schema import ModelRef, Module, Recipe
from app.recipe.sections import Section, alone, gone, needs, put

PREFIX = "document:"


def act(recipe: Recipe, action: str) -> tuple[Recipe, Section]:
    """Do what a button says, and the section to show then: ``open:SECTION``, ``further`` (one more merge, which begins
    with the result), ``new`` (one more whose result can be used), ``up:N`` and ``down:N``, ``remove:N``;
    ``apart:N/PART`` (merge only this part of the models), ``merge:N/MODULE`` and ``keep:N/MODULE``.
    Raises Refused."""
    verb, _, rest = action.partition(":")
    if verb == "further":
        made = further(recipe)
        return made, Section(len(made.stages))
    if verb == "new":
        made = replace(recipe, stages=(*recipe.stages, Recipe("linear", name=_free(recipe))))
        return made, Section(len(made.stages) - 1)
    number, _, module = rest.partition("/")
    if not (number.isascii() and number.isdigit() and len(number) < 6 and int(number) < len(recipe.documents)):
        raise gone()
    index = int(number)
    match verb:
        case "open":
            return recipe, Section(index, module)
        case "merge" | "apart" if module:
            return _with_module(recipe, Section(index, module)), Section(index, module)
        case "keep":
            emptied = replace(alone(recipe, Section(index, module)), models=(), slices=())
            return put(recipe, Section(index, module), emptied), Section(index)
        case "remove":
            return without(recipe, index), Section(max(0, len(recipe.stages) - 1))
        case "up" if can_move(recipe, index, -1):
            return _moved(recipe, index, -1)
        case "down" if can_move(recipe, index, 1):
            return _moved(recipe, index, 1)
    raise gone()


def _with_module(recipe: Recipe, section: Section) -> Recipe:
    """The recipe with one more module, which begins with the document's first model, or with all models beside each
    other where there were no modules."""
    document = replace(recipe.documents[section.document], stages=())
    if section.module in document.modules or document.slices:
        raise gone()
    first = next(iter(document.modules.values()), None)
    begun = document.models if first is None else (new_source(document, document.own_parents()[0]),)
    modules = {**document.modules, section.module: Module(begun)}
    return put(recipe, Section(section.document), replace(document, models=(), modules=MappingProxyType(modules)))


def further(recipe: Recipe) -> Recipe:
    """The recipe as a stage of a new one that has only its result so far. Name and number format are the new one's:
    nothing is rounded on the way."""
    if not recipe.own_parents():
        raise refuse("empty-recipe", "", "There is no result to go on with yet.", "Pick at least one model.")
    name = _free(recipe)
    stage = replace(recipe, name=name, dtype=None, out_dtype=None, stages=())
    after = Recipe("linear", dtype=recipe.dtype, out_dtype=recipe.out_dtype, name=recipe.name)
    return replace(after, models=(new_source(after, ModelRef(name)),), stages=(*recipe.stages, stage))


def without(recipe: Recipe, index: int) -> Recipe:
    """The recipe without a document, and without its result wherever that goes in. Without the last one the document
    before it is the recipe, with the number format and the name of the one that went."""
    if not recipe.stages:
        raise refuse("last-document", "", "This is the only merge of the recipe.", "Remove its models instead.")
    if index == len(recipe.stages):
        *stages, last = recipe.stages
        dtype, out_dtype = last.dtype or recipe.dtype, last.out_dtype or recipe.out_dtype
        return replace(last, name=recipe.name, dtype=dtype, out_dtype=out_dtype, stages=tuple(stages))
    gone_ref = ModelRef(recipe.stages[index].name or "")
    stages = [remove(stage, gone_ref) for place, stage in enumerate(recipe.stages) if place != index]
    return replace(remove(recipe, gone_ref), stages=tuple(stages))


def can_move(recipe: Recipe, index: int, by: int) -> bool:
    """Whether a document can change places with its neighbour: neither is the last, and neither needs the other."""
    first, second = sorted((index, index + by))
    if first < 0 or second >= len(recipe.stages):
        return False
    return (recipe.stages[first].name or "") not in needs(recipe, recipe.stages[second].name or "")


def _moved(recipe: Recipe, index: int, by: int) -> tuple[Recipe, Section]:
    stages = list(recipe.stages)
    stages.insert(index + by, stages.pop(index))
    return replace(recipe, stages=tuple(stages)), Section(index + by)


def _free(recipe: Recipe) -> str:
    """A name that nothing has yet: ``step-1``, ``step-2``…"""
    taken = {one.name for one in recipe.documents} | {str(ref) for ref in recipe.parents()}
    return next(name for number in count(len(recipe.documents)) if (name := f"step-{number}") not in taken)
