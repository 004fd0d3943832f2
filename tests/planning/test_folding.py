"""What a check finds of one expert holds for all that are like it: a folded check says what the whole one says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from app.planning.check import check
from app.planning.estimate import estimate
from app.planning.facts import FileFacts, ModelFacts
from app.planning.folding import fold, fold_tensors
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.planning.shares import loom
from app.recipe.catalogue import METHODS
from app.recipe.findings import Refused
from app.recipe.schema import ModelRef, Recipe
from app.web.pages.curve_desk import plan_parts
from tests.planning.models import Shapes, facts, llama_config, llama_shapes, mixture_shapes, recipe

LAYERS, EXPERTS = 4, 12
_NAME, _MORE = re.compile(r"model\.[\w.]*\w"), re.compile(r"(\d+) more")


def model(ref: str, shapes: Shapes | None = None, **more) -> ModelFacts:
    made = facts(ref, mixture_shapes(LAYERS, EXPERTS) if shapes is None else shapes, llama_config(LAYERS), **more)
    return replace(made, folded=fold_tensors(made.tensors))


def models(made: Recipe, **odd: ModelFacts) -> dict[ModelRef, ModelFacts]:
    return {ref: odd.get(ref.name.rpartition("/")[2]) or model(str(ref)) for ref in made.parents()}


def count(text: str) -> str:
    """A remark without the names it gives as examples: how many are meant is what must be the same."""
    listed = r"(?:(?:, | and )?(?:model\.[\w.]*\w|\d+ more))+"
    return re.sub(
        listed, lambda names: str(len(_NAME.findall(names[0])) + sum(map(int, _MORE.findall(names[0])))), text
    )


def said(made: Recipe, parents: dict[ModelRef, ModelFacts]) -> tuple[list[tuple[str, ...]], Plan | None]:
    found, plan = list(check(made, parents)), None
    try:
        plan = make_plan(made, parents)
        found += plan.findings
    except Refused as problem:
        found += problem.findings
    return [(one.level, one.code, count(one.text), one.fix) for one in found], plan


def same(text: str, **odd: ModelFacts) -> None:
    made = recipe(text)
    parents = models(made, **odd)
    folded = fold(made, parents)
    assert all(len(folded[ref].tensors) < len(parents[ref].tensors) / 2 for ref in parents), "not folded"
    (remarks, whole), (fewer, small) = said(made, parents), said(made, dict(folded))
    assert fewer == remarks
    assert (whole is None) == (small is None)
    if whole is None or small is None:
        return
    assert small.parameters == whole.parameters
    assert small.files_needed == whole.files_needed
    big, little = estimate(whole), estimate(small)
    assert little.download_bytes == big.download_bytes
    assert little.peak_memory_bytes == big.peak_memory_bytes
    assert little.seconds == big.seconds
    assert little.output_bytes == pytest.approx(big.output_bytes, rel=0.5), "headers are most of such small models"
    assert small.texts["config.json"] == whole.texts["config.json"]
    assert plan_parts(small) == plan_parts(whole)
    drawn, wanted = loom(small), loom(whole)
    assert [row.label for row in drawn.rows] == [row.label for row in wanted.rows]
    for row, other in zip(drawn.rows, wanted.rows, strict=True):
        for cell, right in zip(row.cells, other.cells, strict=True):
            assert (cell is None) == (right is None)
            if cell is not None and right is not None:
                assert cell.elements == right.elements
                assert cell.shares == pytest.approx(right.shares)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_the_same(method: str):
    needs = METHODS[method]
    names = ["a", "b", "c"][: 1 if needs.max_parents == 1 else max(needs.min_parents, 2)]
    base = "" if needs.base == "ignored" else "base_model: o/a\n" if needs.base_counts else "base_model: o/base\n"
    listed = "".join(f"- model: o/{name}\n  parameters: {{weight: 0.5}}\n" for name in names)
    same(f"merge_method: {method}\n{base}models:\n{listed}parameters: {{t: 0.3}}\n")


KINDS = {
    "curves and filters": """
merge_method: linear
models:
- {model: o/a, parameters: {weight: [{filter: experts, value: [1, 0]}, {filter: layers.3., value: 0.2}, {value: 1}]}}
- {model: o/b, parameters: {weight: 0.5}}
""",
    "stack": """
merge_method: passthrough
slices:
- sources: [{model: o/a, layer_range: [0, 3]}]
- sources: [{model: o/b, layer_range: [1, 4]}]
""",
    "slices": """
merge_method: slerp
base_model: o/a
slices:
- sources: [{model: o/a, layer_range: [0, 4]}, {model: o/b, layer_range: [0, 4]}]
parameters: {t: [{filter: mlp, value: [0, 1]}, {value: 0.5}]}
""",
    "documents": """
name: mid
merge_method: linear
models: [{model: o/a, parameters: {weight: 1}}, {model: o/b, parameters: {weight: 1}}]
---
merge_method: task_arithmetic
base_model: o/base
models: [{model: mid, parameters: {weight: 0.4}}, {model: o/c, parameters: {weight: 0.4}}]
""",
}


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS)
def test_every_kind_of_recipe_says_the_same(text: str):
    same(text)


LINEAR = (
    "merge_method: linear\nmodels:\n- model: o/a\n  parameters: {weight: 0.7}\n"
    "- model: o/b\n  parameters: {weight: 0.5}\n"
)


def test_errors_and_warnings_count_every_expert():
    wide = {
        name: (2 * shape[0], *shape[1:]) if "experts" in name else shape
        for name, shape in mixture_shapes(LAYERS, EXPERTS).items()
    }
    same(LINEAR, b=model("o/b", wide))
    without = {
        name: shape for name, shape in mixture_shapes(LAYERS, EXPERTS).items() if ".layers.2.mlp.experts" not in name
    }
    same(LINEAR, a=model("o/a", without), b=model("o/b", without))
    same(LINEAR.replace("weight: 0.7", "weight: -0.5"))


def test_what_lies_in_several_files_is_downloaded_from_all_of_them():
    tensors = model("o/a").tensors
    spread = {name: replace(one, file=f"{i % 5}.safetensors") for i, (name, one) in enumerate(tensors.items())}
    files = tuple(FileFacts(f"{i}.safetensors", 1000 + i) for i in range(5))
    parent = ModelFacts("o/b", llama_config(LAYERS), spread, files, folded=fold_tensors(spread))
    assert set(parent.folded.tensors["model.layers.1.mlp.experts.0.up_proj.weight"].files) == {
        one.name for one in files
    }
    same(LINEAR, b=parent)


@pytest.mark.parametrize("filter_text", ["experts.3.", "1.mlp.experts.1", "5"])
def test_filters_that_name_some_experts_are_not_folded(filter_text: str):
    made = recipe(LINEAR.replace("{weight: 0.7}", f'{{weight: [{{filter: "{filter_text}", value: 1}}, {{value: 0}}]}}'))
    parents = models(made)
    assert fold(made, parents) is parents


def test_parents_with_unlike_experts_are_not_folded():
    made = recipe(LINEAR)
    odd = mixture_shapes(LAYERS, EXPERTS) | {"model.layers.2.mlp.experts.7.up_proj.weight": (4, 8)}
    for other in (
        model("o/b", mixture_shapes(LAYERS, EXPERTS - 2)),
        model("o/b", odd),
        model("o/b", llama_shapes(LAYERS)),
    ):
        parents = models(made, b=other)
        assert fold(made, parents) is parents


def test_only_equals_are_folded():
    odd = mixture_shapes(LAYERS, EXPERTS) | {"model.layers.2.mlp.experts.7.up_proj.weight": (4, 8)}
    folded = fold_tensors(facts("o/a", odd).tensors)
    at = "model.layers.2.mlp.experts"
    assert folded.tensors[f"{at}.0.up_proj.weight"].alike == EXPERTS - 1
    assert folded.tensors[f"{at}.7.up_proj.weight"].alike == 1
    assert folded.tensors[f"{at}.0.down_proj.weight"].alike == EXPERTS
    assert folded.members[f"{at}.11.up_proj.weight"] == f"{at}.0.up_proj.weight"
    assert sum(one.alike for one in folded.tensors.values()) == len(odd)
    assert fold_tensors(facts("o/a", llama_shapes(LAYERS)).tensors) is None


def test_a_result_of_many_shards_has_as_many_when_folded():
    made = recipe(LINEAR)
    parents = models(made)
    whole = make_plan(made, parents, shard_bytes=12_000)
    small = make_plan(made, fold(made, parents), shard_bytes=12_000)
    assert len(whole.shards) > 3
    assert abs(len(small.shards) - len(whole.shards)) <= 1
    assert small.shards[0].file.startswith("model-00001-of-")
