"""The donor: the parent whose config, tokenizer and small files the result gets, and the config made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from app.planning.config_repair import Repaired, Target, repair_config
from app.planning.layer_repair import Stack
from app.planning.module_names import HEAD, outside_layers
from app.planning.outline import Outline, PartStack
from app.planning.parents import Parents, says_tied
from app.planning.plan import Step
from app.planning.shards import nbytes
from app.planning.uneven import uneven_layers
from app.recipe.roles import first_parent
from app.recipe.schema import Recipe


def pick_donor(recipe: Recipe, parents: Parents, steps: Sequence[Step]) -> int:
    """The base, else the first parent; with a method that adds to its first parent, that one. A base that gives no
    weights is asked only if it is built like the first. If it has no config, the first that has one and is merged."""
    chosen = _first_asked(recipe, parents, steps)
    if parents.facts[chosen].config:
        return chosen
    used = _used(steps)
    return next((parent for parent in sorted(used) if parents.facts[parent].config), chosen)


def _first_asked(recipe: Recipe, parents: Parents, steps: Sequence[Step]) -> int:
    first = parents.index(next(recipe.sources()).model)
    if recipe.base_model is None:
        return first
    base = parents.index(first_parent(recipe))
    if any(one.parent == base for step in steps for one in step.every_input):
        return base
    return base if _shapes(parents, base) == _shapes(parents, first) else first


def result_config(parents: Parents, donor: int, laid_out: Outline, steps: Sequence[Step]) -> Repaired:
    """The donor's config, made true for these steps."""
    stack = None
    if laid_out.stacked is not None:
        origins = [(parents.facts[parent].config, layer) for parent, layer in laid_out.stacked]
        stack = Stack(origins, parents.structures[donor].layers)
    embedding = parents.embeddings[donor]
    rows = _rows(parents, steps)
    heads = {step.name for step in steps if _is_head(step, rows)}
    target = Target(
        dtype=_main_dtype(steps),
        rows=rows,
        donor_rows=embedding.shape[0] if embedding else None,
        untied=any(_own_head(parents, parent, heads) for parent in _used(steps)),
        donor_head=bool(heads & parents.facts[donor].tensors.keys()),
        stack=stack,
        parts=tuple(_part_stack(parents, one) for one in laid_out.stacks),
    )
    repaired = repair_config(parents.facts[donor].config, target)
    if laid_out.stacked is None:
        return repaired
    uneven = uneven_layers(parents, donor, laid_out.structure.main or "", laid_out.stacked, repaired.config)
    return replace(repaired, findings=(*repaired.findings, *uneven))


def _part_stack(parents: Parents, one: PartStack) -> Stack:
    return Stack([(parents.facts[parent].config, layer) for parent, layer in one.origins], one.before, one.role)


def _shapes(parents: Parents, parent: int) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in parents.facts[parent].tensors.items()}


def _used(steps: Iterable[Step]) -> set[int]:
    return {one.parent for step in steps for one in step.every_input}


def _rows(parents: Parents, steps: Sequence[Step]) -> int | None:
    """Rows of the result's token embedding, found by its name in a parent."""
    names = {one.name for one in parents.embeddings if one is not None}
    return next((step.shape[0] for step in steps if step.name in names), None)


def _is_head(step: Step, rows: int | None) -> bool:
    return len(step.shape) == 2 and step.shape[0] == rows and outside_layers(step.name) == HEAD


def _own_head(parents: Parents, parent: int, heads: set[str]) -> bool:
    """Whether a parent brings a head that is not just its embedding stored twice."""
    facts = parents.facts[parent]
    return bool(heads & facts.tensors.keys()) and not says_tied(facts.config)


def _main_dtype(steps: Sequence[Step]) -> str:
    """The dtype of most of the result's bytes."""
    bytes_of: dict[str, int] = {}
    for step in steps:
        bytes_of[step.dtype] = bytes_of.get(step.dtype, 0) + nbytes(step) * step.alike
    return max(bytes_of, key=lambda dtype: bytes_of[dtype])
