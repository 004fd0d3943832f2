"""One document of a recipe resolved against its parents' headers: the tensors of its result and what lies beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.planning.alignment import Aligner, aligned_parents, vocabulary_tensors
from app.planning.carried import Carried, carried_files, licences
from app.planning.config_edit import told
from app.planning.donor import pick_donor, result_config
from app.planning.facts import TORCH_TO_SAFETENSORS, ModelFacts
from app.planning.join_vocabularies import Joined, is_settled, join_vocabularies
from app.planning.modules import Modular, outline_modules
from app.planning.outline import Outline, outline
from app.planning.parents import Parents, unfit
from app.planning.plan import Alignment, Step
from app.planning.steps import StepMaker
from app.planning.token_ids import renumber
from app.planning.uneven import layers_in_one
from app.planning.weights_only import flat_curves, without_config
from app.recipe.catalogue import METHODS, Method
from app.recipe.findings import Finding, Refused, did_you_mean, has_errors, refuse
from app.recipe.requirements import check_requirements
from app.recipe.schema import ModelRef, Recipe


@dataclass(frozen=True)
class Document:
    """``parents`` are those this document refers to; everything else names them by their place there. ``donor`` is the
    one whose config the result has."""

    recipe: Recipe
    parents: Parents
    steps: tuple[Step, ...]
    donor: int
    beside: Carried
    alignments: tuple[Alignment, ...]
    findings: tuple[Finding, ...]


def plan_document(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> Document:
    """``facts`` hold every parent of the document. Raises Refused with everything that is wrong."""
    method = _method(recipe)
    parents = Parents.of(recipe.own_parents(), facts)
    _refuse(
        [
            *_unsupported(recipe),
            *check_requirements(recipe, method),
            *(finding for ref in parents.refs for finding in unfit(ref, facts[ref])),
        ]
    )
    joined = _joined(recipe, parents) if any(facts.config for facts in parents.facts) else None
    names = vocabulary_tensors(parents) if joined else frozenset()
    shown = aligned_parents(parents, names, joined.vocabulary.rows) if joined else parents
    modular = outline_modules(recipe, method, shown) if recipe.modules else None
    laid_out, shown = (modular.outline, modular.parents) if modular else (outline(recipe, method, shown), shown)
    steps, noticed = _steps(laid_out, StepMaker(shown, method, _dtype(recipe)))
    donor = modular.frame if modular else pick_donor(recipe, shown, steps)
    for moved in (laid_out.stacked or (), *(part.origins for part in laid_out.stacks)):
        _refuse(tuple(layers_in_one(shown, donor, [layer for _, layer in moved])) if moved else ())
    aligner = Aligner(parents, joined.vocabulary, names) if joined else None
    steps = aligner.align(steps) if aligner else steps
    named = outline_modules(recipe, method, parents).parents if modular else parents
    beside = _files_beside(recipe, named, donor, laid_out, steps, joined)
    about = (*_about_parents(recipe, parents, donor, modular), *_about_tokenizer(recipe, joined))
    first = parents.name(parents.index(next(recipe.sources()).model))
    about = (*about, *flat_curves(recipe, laid_out.structure, first))
    alignments = aligner.alignments if aligner else ()
    findings = (*about, *noticed, *beside.findings)
    return Document(recipe, parents, tuple(steps), donor, beside, alignments, findings)


def _steps(laid_out: Outline, maker: StepMaker) -> tuple[list[Step], tuple[Finding, ...]]:
    """The steps in order, and what was noticed on the way."""
    steps = [step for wanted in laid_out.wanted if (step := maker.step(wanted)) is not None]
    if laid_out.kept is not None:
        steps += maker.keep(laid_out.kept, laid_out.structure)
        steps.sort(key=lambda step: laid_out.structure.order(step.name))
    _refuse(maker.ledger.findings())
    if not steps:
        raise refuse("nothing-to-merge", "", "No tensor would be left in the result.", "Choose other models.")
    return steps, maker.ledger.findings()


def _files_beside(
    recipe: Recipe, parents: Parents, donor: int, laid_out: Outline, steps: Sequence[Step], joined: Joined | None
) -> Carried:
    """What lies beside the weights: config.json, tokenizer, licence."""
    if not parents.facts[donor].config:
        return licences(donor, parents.facts)
    repaired = result_config(parents, donor, laid_out, steps)
    config, changes = repaired.config, repaired.changes
    if joined is not None and joined.vocabulary.owner != donor:
        owner = parents.facts[joined.vocabulary.owner].config
        config, renumbered = renumber(config, owner, joined.new_ids(donor))
        changes = (*changes, *renumbered)
    carried = carried_files(donor, parents.facts, recipe.chat_template, joined)
    text = json.dumps(config, indent=2) + "\n"
    corrected = told(changes)
    findings = (*([corrected] if corrected else []), *repaired.findings, *carried.findings)
    return Carried(carried.carries, {**carried.texts, "config.json": text}, findings)


def _refuse(findings: Sequence[Finding]) -> None:
    if has_errors(findings):
        raise Refused(dict.fromkeys(finding for finding in findings if finding.level == "error"))


def _method(recipe: Recipe) -> Method:
    method = METHODS.get(recipe.merge_method)
    if method is None:
        raise refuse(
            "unknown-method", "merge_method", f'There is no method "{recipe.merge_method[:60]}".',
            did_you_mean(recipe.merge_method, METHODS) or f"Known methods: {', '.join(METHODS)}.",
        )  # fmt: skip
    return method


def _dtype(recipe: Recipe) -> str | None:
    """The result's dtype by safetensors' name; None: the widest of each tensor's inputs."""
    name = recipe.out_dtype or recipe.dtype
    return None if name is None else TORCH_TO_SAFETENSORS[name]


def _unsupported(recipe: Recipe) -> Iterator[Finding]:
    for key, name in (("dtype", recipe.dtype), ("out_dtype", recipe.out_dtype)):
        if name is not None and name not in TORCH_TO_SAFETENSORS:
            fix = did_you_mean(name, TORCH_TO_SAFETENSORS) or f"Known: {', '.join(TORCH_TO_SAFETENSORS)}."
            text = f'"{name[:40]}" is not a number format a result can have.'
            yield Finding("error", "unknown-dtype", key, text, fix)


def _joined(recipe: Recipe, parents: Parents) -> Joined | None:
    """The result's vocabulary where it is not simply every parent's."""
    if recipe.tokenizer is None or is_settled(recipe, parents):
        return None
    return join_vocabularies(recipe, recipe.tokenizer, parents)


def _about_tokenizer(recipe: Recipe, joined: Joined | None) -> Iterator[Finding]:
    if joined is not None:
        yield from joined.findings
    elif recipe.tokenizer is not None:
        place = "tokenizer_source" if recipe.tokenizer.legacy else "tokenizer"
        yield Finding("info", "tokenizers-equal", place, "All parents have the same vocabulary; it is kept as it is.")


def _about_parents(recipe: Recipe, parents: Parents, donor: int, modular: Modular | None) -> Iterator[Finding]:
    without = list(without_config(recipe, parents, donor))
    _refuse(without)
    yield from without
    if modular is not None:
        yield from modular.findings
        return
    method = METHODS[recipe.merge_method]
    listed = {source.model for source in recipe.sources()}
    if method.base == "ignored" and recipe.base_model is not None and recipe.base_model not in listed:
        text = f"{method.title} has no use for a base: the weights of {recipe.base_model} do not go in."
        if parents.index(recipe.base_model) == donor:
            text += " Config and tokenizer come from it."
        yield Finding("info", "base-ignored", "base_model", text, "To merge it too, add it to the models.")
