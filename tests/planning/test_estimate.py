"""What a merge will take."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from app.planning.adapted import AdaptedTensor, LowRank
from app.planning.estimate import estimate, merging_seconds
from app.planning.facts import FileFacts, ModelFacts, TensorFacts
from app.planning.plan_merge import make_plan
from app.planning.rates import DOWNLOAD_RATE, Measured, Rates
from tests.planning.models import facts, family, llama_shapes, recipe

LINEAR = "merge_method: linear\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {weight: 1}\n"
TIES = (
    "merge_method: ties\nbase_model: o/base\nmodels: [{model: o/a}, {model: o/b}, {model: o/c}]\n"
    "parameters: {weight: 1, density: 0.5}\n"
)


def plan_of(text: str, **more):
    made = recipe(text)
    return make_plan(made, {ref: facts(str(ref), llama_shapes(), **more) for ref in made.parents()})


def test_api_fields():
    assert list(asdict(estimate(plan_of(LINEAR)))) == [
        "parameters", "output_bytes", "download_bytes", "peak_memory_bytes", "disk_bytes", "seconds", "basis",
    ]  # fmt: skip


def test_sizes():
    plan = plan_of(LINEAR)
    found = estimate(plan)
    weights = sum(file.size for model in plan.parents for file in model.files)
    texts = sum(len(text.encode()) for text in plan.texts.values())
    assert found.parameters == plan.parameters == sum(one.elements for one in plan.parents[0].tensors.values())
    assert found.output_bytes == plan.output_bytes + texts
    assert found.download_bytes == weights
    assert found.disk_bytes == pytest.approx((found.output_bytes + weights) * 1.05, abs=1)


def test_only_needed_and_missing_files_are_downloaded():
    model = facts("o/a", llama_shapes(), files=(FileFacts("tokenizer.json", 500), FileFacts("big.bin", 10**12)))
    here = ModelFacts("o/b", model.config, model.tensors, (FileFacts("model.safetensors", 10**9, present=True),))
    plan = make_plan(recipe(LINEAR), family(model, here))
    own = next(file.size for file in model.files if file.name == "model.safetensors")
    assert estimate(plan).download_bytes == own + 500


def test_time_follows_the_cost_model():
    """7 B parameters, base and three parents, TIES, two threads: about 40 s by the measured model."""
    elements = 7_000_000_000
    tensor = TensorFacts("w", "BF16", (elements,), "model.safetensors", 8, 8 + 2 * elements)
    files = (FileFacts("model.safetensors", 2 * elements, present=True),)
    models = family(*(ModelFacts(f"o/{x}", {}, {"w": tensor}, files) for x in ("base", "a", "b", "c")))
    plan = make_plan(recipe(TIES), models)
    two = estimate(plan)
    assert 35 < two.seconds < 45
    assert estimate(plan, threads=1).seconds > 1.7 * two.seconds
    assert 0.5 * two.seconds < estimate(plan, threads=4).seconds < two.seconds
    assert estimate(plan, rates=Rates(merging=Measured(2, 5))).seconds == pytest.approx(2 * two.seconds, abs=0.2)
    assert two.peak_memory_bytes > 3 * 4 * 0.03 * elements


def test_download_counts_as_time():
    plan = plan_of(LINEAR)
    size = estimate(plan).download_bytes
    assert estimate(plan, rates=Rates(download=Measured(size / 100, 1))).seconds == pytest.approx(101, abs=0.5)
    assert size / DOWNLOAD_RATE < 1


def test_memory_does_not_grow_with_the_model():
    small = estimate(plan_of(LINEAR)).peak_memory_bytes
    assert small < 250_000_000
    elements = 500_000_000
    tensor = TensorFacts("w", "BF16", (elements,), "model.safetensors", 8, 8 + 2 * elements)
    files = (FileFacts("model.safetensors", 8 + 2 * elements),)
    models = family(*(ModelFacts(f"o/{x}", {}, {"w": tensor}, files) for x in "ab"))
    assert estimate(make_plan(recipe(LINEAR), models)).peak_memory_bytes == small


def test_every_method_has_a_cost():
    from app.planning.estimate import _READ_NS
    from app.recipe.catalogue import METHODS

    assert set(_READ_NS) == {*METHODS, "copy"}


def adapted(rank: int, size: int = 4000) -> ModelFacts:
    """A model of one matrix with a LoRA adapter on it."""
    file = "adapter_model.safetensors"
    up = TensorFacts("w.lora_B.weight", "F32", (size, rank), file, 8, 8 + 4 * size * rank)
    down = TensorFacts("w.lora_A.weight", "F32", (rank, size), file, up.end, up.end + 4 * size * rank)
    own = ("w", "BF16", (size, size), "model.safetensors", 8, 8 + 2 * size * size)
    tensor = AdaptedTensor(*own, added=LowRank(up, 1.0, down)) if rank else TensorFacts(*own)
    adapter = ModelFacts("o/lora", {}, {}, (FileFacts(file, down.end, present=True),)) if rank else None
    files = (FileFacts("model.safetensors", own[-1], present=True),)
    return ModelFacts("o/a", {}, {"w": tensor}, files, adapter=adapter)


@pytest.mark.parametrize(("method", "passes"), [("linear", 1), ("slerp", 2)])
def test_adding_an_adapter_takes_time_with_its_rank_on_every_pass(method: str, passes: int):
    more = "base_model: o/b\nparameters: {t: 0.5}\n" if method == "slerp" else "parameters: {weight: 1}\n"
    made = recipe(f"merge_method: {method}\nmodels: [{{model: o/a}}, {{model: o/b}}]\n{more}")
    other = replace(adapted(0), ref="o/b")
    plain, eight, large = (make_plan(made, family(adapted(rank), other)) for rank in (0, 8, 512))
    seconds = [merging_seconds(plan) for plan in (plain, eight, large)]
    assert seconds[1] - seconds[0] == pytest.approx(16e6 * (0.5 + 8 * 0.055) * 1e-9 * passes)
    assert seconds[2] - seconds[0] == pytest.approx(16e6 * (0.5 + 512 * 0.055) * 1e-9 * passes)
    memory = [estimate(plan).peak_memory_bytes for plan in (plain, eight, large)]
    assert memory[2] - memory[0] == 2 * 4000 * 512 * 4
    assert memory[1] - memory[0] == 2 * 4000 * 8 * 4


def test_fetching_takes_memory_too():
    made = recipe(LINEAR)
    there = {ref: facts(str(ref), llama_shapes()) for ref in made.parents()}
    here = {
        ref: replace(one, files=tuple(replace(file, present=True) for file in one.files)) for ref, one in there.items()
    }
    peaks = [estimate(make_plan(made, models)).peak_memory_bytes for models in (here, there)]
    assert peaks[1] - peaks[0] == 60_000_000
