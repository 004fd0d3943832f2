"""One of several documents planned by itself, for showing: what earlier ones make counts as a model of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.planning.document import plan_document
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.parents import Parents
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.planning.stages import Stages
from app.recipe.documents import used_stages
from app.recipe.findings import Refused
from app.recipe.schema import ModelRef, Recipe

Facts = Mapping[ModelRef, ModelFacts]


def plan_apart(recipe: Recipe, index: int, facts: Facts) -> tuple[Plan | None, Facts]:
    """The plan of ``recipe.documents[index]`` alone, and the facts of all that goes into it: those of earlier results
    too, as if they lay there as files. No plan where it cannot be made, whatever is wrong with the others."""
    document = replace(recipe.documents[index], stages=recipe.stages[:index])
    used = used_stages(document)
    if not all(ref in facts for ref in document.parents()) or not all(any(one.sources()) for one in (*used, document)):
        return None, facts
    stages = Stages(Parents.of(document.parents(), facts))
    try:
        for stage in used:
            stages.add(plan_document(stage, stages.facts), 0)
    except Refused:
        return None, facts
    known = {**facts, **{ref: _as_files(one) for ref, one in stages.facts.items() if ref not in facts}}
    try:
        return make_plan(replace(document, stages=()), known), known
    except Refused:
        return None, known


def _as_files(made: ModelFacts) -> ModelFacts:
    tensors = {
        name: TensorFacts(one.name, one.dtype, one.shape, one.file, one.begin, one.end)
        for name, one in made.tensors.items()
    }
    return replace(made, tensors=tensors)
