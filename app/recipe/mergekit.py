"""A recipe in words that mergekit 0.1.5 knows, with the same meaning; and what it cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from app.recipe.catalogue import METHODS
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.schema import EMPTY, ModelRef, Module, Parameters, Recipe, Rule, Scalar, Setting, Slice, Source

LACKING = ("transfer", "consensus_ta", "consensus_ties")
"""Methods of the catalogue that mergekit does not have. Of these only the first can be said otherwise."""
_ONE: Setting = (Rule(1.0),)


def for_mergekit(recipe: Recipe) -> tuple[Recipe, tuple[Finding, ...]]:
    """The recipe and remarks on what is left out. Raises Refused when mergekit has no words for it.

    A transfer becomes task arithmetic on top of the model that receives: target + λΣwᵢ(xᵢ − target) −
    λΣwᵢ(base − target) is target + λΣwᵢ(xᵢ − base).
    """
    stages = tuple(_document(stage) for stage in recipe.stages)
    findings = []
    if any(document.seed is not None for document in recipe.documents):
        fix = "Give mergekit the option --random-seed. Its draws are others all the same."
        findings.append(Finding("info", "left-out", "seed", "mergekit has no seed in a recipe.", fix))
    if any(document.head_curve == "last" for document in recipe.documents):
        text = "mergekit gives final norm and head the first value of every curve."
        findings.append(Finding("warning", "left-out", "head_curve", text, "Give them rules of their own."))
    if any(ref.name.endswith(".safetensors") for ref in recipe.parents()):
        fix = "Call mergekit-pytorch, which merges files of weights; it has no slices."
        findings.append(Finding("info", "weights-only", "", "mergekit-yaml reads models with a config only.", fix))
    if recipe.stages:
        fix = "Call mergekit-multi; it writes every document's result to a folder."
        findings.append(Finding("info", "several-documents", "", "mergekit-yaml reads one document only.", fix))
    return replace(_document(recipe), stages=stages), tuple(findings)


def _document(recipe: Recipe) -> Recipe:
    method = METHODS.get(recipe.merge_method)
    if recipe.merge_method in LACKING[1:]:
        text = f"{method.title if method else recipe.merge_method} is not among mergekit's methods."
        raise refuse("not-in-mergekit", "merge_method", text, "ties and breadcrumbs_ties come nearest.")
    pieces = [*recipe.slices, *(piece for module in recipe.modules.values() for piece in module.slices)]
    if any(len({source.model for source in piece.sources}) < len(piece.sources) for piece in pieces):
        text = "A slice blends layers of one model with each other, which mergekit refuses."
        raise refuse("not-in-mergekit", "slices", text, "Copy the model, and name the copy for its second place.")
    recipe = replace(recipe, seed=None, head_curve=None)
    return _transfer(recipe) if method is not None and method.receives else recipe


def _transfer(recipe: Recipe) -> Recipe:
    """As task arithmetic whose base is the model that receives. The same model has to be that everywhere."""
    groups = [recipe.models, *(piece.sources for piece in recipe.slices)]
    for module in recipe.modules.values():
        groups += [module.models, *(piece.sources for piece in module.slices)]
    targets = {_target(sources, recipe.base_model) for sources in groups if sources}
    bases = {piece.base_model for piece in recipe.slices if piece.base_model} - {recipe.base_model}
    if len(targets) != 1 or bases or recipe.base_model is None:
        text = "Several models receive changes here, or changes are taken from several bases."
        raise refuse("not-in-mergekit", "", text, "Write a document for each, or keep one receiving model.")
    (target,) = targets
    around = [recipe.parameters]

    def group(sources: tuple[Source, ...], *scopes: Parameters) -> tuple[Source, ...]:
        return _as_task_arithmetic(sources, recipe.base_model, [*scopes, *around]) if sources else ()

    def piece(one: Slice, *scopes: Parameters) -> Slice:
        return replace(one, sources=group(one.sources, one.parameters, *scopes), parameters=EMPTY)

    def part(one: Module) -> Module:
        slices = tuple(piece(each, one.parameters) for each in one.slices)
        return Module(group(one.models, one.parameters), slices)

    return replace(
        recipe,
        merge_method="task_arithmetic",
        base_model=target,
        models=group(recipe.models),
        slices=tuple(map(piece, recipe.slices)),
        modules=MappingProxyType({name: part(one) for name, one in recipe.modules.items()}),
        parameters=EMPTY,
    )


def _target(sources: Sequence[Source], base: ModelRef | None) -> ModelRef:
    return next(source.model for source in sources if source.model != base)


def _as_task_arithmetic(
    sources: tuple[Source, ...], base: ModelRef | None, scopes: Sequence[Parameters]
) -> tuple[Source, ...]:
    target = next(source for source in sources if source.model != base)
    given = next((source for source in sources if source.model == base), None)
    strength = _setting(scopes, "lambda")
    experts = [source for source in sources if source.model != base and source is not target]
    weights = [_product(strength, _setting([source.parameters, *scopes], "weight")) for source in experts]
    added = tuple(
        replace(source, parameters=MappingProxyType({"weight": weight}))
        for source, weight in zip(experts, weights, strict=True)
    )
    if base is None:
        return added
    taken = MappingProxyType({"weight": _minus_sum(weights)})
    layers = given.layers if given else experts[0].layers
    kept = (target,) if target.layers else ()
    plain = tuple(replace(source, parameters=EMPTY) for source in kept)
    return (*plain, *added, Source(base, layers, taken))


def _setting(scopes: Sequence[Parameters], name: str) -> Setting:
    return next((scope[name] for scope in scopes if name in scope), _ONE)


def _product(one: Setting, other: Setting) -> Setting:
    """Raises Refused where both change over layers or tensors."""
    for plain, ruled in ((one, other), (other, one)):
        if len(plain) == 1 and plain[0].filter is None and not isinstance(plain[0].value, tuple):
            factor = float(plain[0].value)
            return tuple(replace(rule, value=_times(factor, rule.value)) for rule in ruled)
    raise _too_much("lambda and weight both change over the layers.")


def _minus_sum(weights: Sequence[Setting]) -> Setting:
    if len(weights) == 1:
        return tuple(replace(rule, value=_times(-1.0, rule.value)) for rule in weights[0])
    if all(len(one) == 1 and one[0].filter is None and not isinstance(one[0].value, tuple) for one in weights):
        return (Rule(-sum(float(one[0].value) for one in weights if not isinstance(one[0].value, tuple))),)
    raise _too_much("Several weights change over the layers.")


def _times(factor: float, value: Scalar | tuple[Scalar, ...]) -> Scalar | tuple[Scalar, ...]:
    if isinstance(value, tuple):
        return tuple(factor * float(one) for one in value)
    return factor * float(value)


def _too_much(text: str) -> Refused:
    return refuse("not-in-mergekit", "parameters", text, "Keep plain numbers for all but one of them.")
