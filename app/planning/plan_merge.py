"""From a recipe and its parents' headers to the plan: every tensor of the result, every file, every byte."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.planning.carried import where_it_lies
from app.planning.document import plan_document
from app.planning.facts import ModelFacts
from app.planning.parents import Parents
from app.planning.pinning import pin
from app.planning.plan import RECIPE_FILE, Plan
from app.planning.shards import SHARD_BYTES, files_of
from app.planning.stages import Stages
from app.recipe.catalogue import METHODS
from app.recipe.documents import naming, used_stages
from app.recipe.schema import ModelRef, Recipe
from app.recipe.writing import write_recipe


def make_plan(
    recipe: Recipe, facts: Mapping[ModelRef, ModelFacts], *, seed: int | None = None, shard_bytes: int = SHARD_BYTES
) -> Plan:
    """Resolve a recipe against its parents' facts. ``seed`` goes before the recipe's own; 0 without either.

    The documents of a recipe become one plan, in which a tensor's inputs may be made by steps of their own. Raises
    Refused with everything that is wrong; the plan's findings hold what is only worth knowing.
    """
    parents = Parents.of(recipe.parents(), facts)
    chosen = _seed(recipe, seed)
    stages = Stages(parents)
    used = used_stages(recipe)
    for stage in used:
        with naming(stage):
            planned = plan_document(stage, stages.facts)
        stages.add(planned, chosen if stage.seed is None else stage.seed)
    last = stages.last(plan_document(recipe, stages.facts))
    random = any(METHODS[document.merge_method].random for document in (*used, recipe))
    text = write_recipe(pin(recipe, facts, chosen if random else None))
    shards, index = files_of(last.steps, parents.facts[last.donor], shard_bytes, {"format": "pt", "weightloom": text})
    texts = MappingProxyType({**last.beside.texts, RECIPE_FILE: text, **index})
    everyone, adapters = parents.with_adapters, parents.adapters
    carries = tuple(where_it_lies(one, parents) for one in last.beside.carries)
    return Plan(recipe, everyone, shards, carries, texts, chosen, last.findings, last.alignments, adapters)


def _seed(recipe: Recipe, seed: int | None) -> int:
    if seed is not None:
        return seed
    return recipe.seed if recipe.seed is not None else 0
