"""Plans of parents without a config: what is told, what the result's files are called, what is not written."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest

from app.planning.card import model_card
from app.planning.check import check
from app.planning.facts import DTYPE_BYTES, FileFacts, ModelFacts, OwnNames, TensorFacts
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.planning.shares import loom
from app.recipe.findings import Finding, Refused
from tests.planning.models import Shapes, facts, family, llama_config, llama_shapes, recipe
from tests.support.raw_weights import BLOCKS, unet, vocoder

UNET = {name: one.shape for name, one in unet(1).items()}
VOICE = {name: one.shape for name, one in vocoder(1).items()}
LINEAR = """
merge_method: linear
models:
- {model: o/a, parameters: {weight: 0.5}}
- {model: o/b, parameters: {weight: 0.5}}
"""
SLERP = "{merge_method: slerp, base_model: o/a, models: [{model: o/a}, {model: o/b}], parameters: {t: 0.5}}"


def raw(ref: str, shapes: Shapes, files: int = 1, index: str | None = None, extra: tuple[str, ...] = ()) -> ModelFacts:
    """Weights in files called after the model, its tensors dealt out in turn."""
    names = [f"{ref[2:]}-{number}.safetensors" for number in range(files)]
    tensors = {
        name: TensorFacts(name, "BF16", shape, names[number % files], 8, 8 + prod(shape) * DTYPE_BYTES["BF16"])
        for number, (name, shape) in enumerate(shapes.items())
    }
    listed = (*names, *extra, *([index] if index else []))
    return ModelFacts(ref, {}, tensors, tuple(FileFacts(one, 100) for one in listed), own_names=OwnNames(index))


def plan(text: str, *models: ModelFacts) -> Plan:
    return make_plan(recipe(text), family(*models))


def found(made: Plan, code: str) -> Finding:
    (finding,) = [one for one in made.findings if one.code == code]
    return finding


def files(made: Plan) -> dict[str, set[str]]:
    return {shard.file: {step.name for step in shard.steps} for shard in made.shards}


def test_the_result_is_one_file_called_as_the_first_parents() -> None:
    made = plan(LINEAR, raw("o/a", UNET, extra=("LICENSE", "tokenizer.json")), raw("o/b", UNET, files=3))
    assert files(made) == {"a-0.safetensors": set(UNET)}
    assert set(made.texts) == {"mergekit_config.yml"}
    assert [one.file for one in made.carries] == ["LICENSE"]
    text = found(made, "weights-only").text
    assert "only names, shapes and number formats" in text
    assert f"{BLOCKS} in down_blocks" in text
    assert "no config and no tokenizer" in text
    assert "called as in o/a" in text


def test_each_tensor_stays_in_the_file_it_has_in_the_parent() -> None:
    made = plan(LINEAR, raw("o/a", UNET, files=2), raw("o/b", UNET))
    names = list(UNET)
    assert files(made) == {"a-0.safetensors": set(names[::2]), "a-1.safetensors": set(names[1::2])}
    assert not [name for name in made.texts if name.endswith(".json")]


def test_an_index_is_written_under_the_name_it_has() -> None:
    made = plan(LINEAR, raw("o/a", UNET, 2, index="net.safetensors.index.json"), raw("o/b", UNET))
    assert "net.safetensors.index.json" in made.texts
    assert "model.safetensors.index.json" not in made.texts


def test_what_the_parent_of_the_names_lacks_joins_a_neighbour() -> None:
    """The union: made from those that have it."""
    more = {**UNET, "time_embedding.linear_2.weight": (8, 8)}
    made = plan(LINEAR, raw("o/a", UNET, 2), raw("o/b", more))
    assert set().union(*files(made).values()) == set(more)
    assert "time_embedding.linear_2.weight" in found(made, "partly-missing").text


def test_what_only_the_base_or_only_one_parent_has() -> None:
    less = {name: shape for name, shape in UNET.items() if name != "logit_scale"}
    copied = plan(SLERP, raw("o/a", UNET), raw("o/b", less))
    assert "logit_scale" in found(copied, "copied-from-base").text
    ties = "{merge_method: ties, base_model: o/a, models: [{model: o/b, parameters: {weight: 1}}]}"
    left = plan(ties, raw("o/a", less), raw("o/b", UNET))
    assert "logit_scale" in found(left, "left-out").text
    assert "logit_scale" not in set().union(*files(left).values())


@pytest.mark.parametrize("first", ["o/a", "o/b"])
def test_the_first_parent_with_a_config_gives_it(first: str) -> None:
    bare = replace(raw("o/a", llama_shapes()), own_names=OwnNames())
    made = plan(LINEAR if first == "o/a" else LINEAR.replace("o/a", "o/x").replace("o/b", "o/a").replace("o/x", "o/b"),
                bare, facts("o/b", llama_shapes()))  # fmt: skip
    assert "config.json" in made.texts
    assert list(files(made)) == ["model.safetensors"]
    finding = found(made, "config-of-another")
    assert (finding.where, "o/a has no config.json" in finding.text) == ("o/b", True)
    assert not [one for one in check(recipe(LINEAR), family(bare, facts("o/b", llama_shapes()))) if one.level != "info"
                and one.code != "licence-unknown"]  # fmt: skip


def test_a_curve_needs_layers() -> None:
    curved = LINEAR.replace("{weight: 0.5}", "{weight: [0.2, 0.8]}", 1)
    assert not [one for one in plan(curved, raw("o/a", UNET), raw("o/b", UNET)).findings if one.level != "info"]
    made = plan(curved, raw("o/a", VOICE), raw("o/b", VOICE))
    finding = found(made, "curve-without-layers")
    assert (finding.level, finding.where) == ("warning", "parameters.weight")
    assert "0.2, holds for all" in finding.text
    assert all(step.inputs[0].parameters["weight"] == 0.2 for step in made.steps())
    assert "no stack of layers" in found(made, "weights-only").text


def test_a_curve_goes_along_the_blocks() -> None:
    made = plan(LINEAR.replace("{weight: 0.5}", "{weight: [0, 1]}", 1), raw("o/a", UNET), raw("o/b", UNET))
    weights = {step.name: step.inputs[0].parameters["weight"] for step in made.steps()}
    at = "down_blocks.{}.attentions.0.to_q.weight"
    assert [weights[at.format(block)] for block in range(BLOCKS)] == [0, 0.5, 1]


def test_slices_of_blocks_are_stacked() -> None:
    stacked = """
merge_method: passthrough
slices:
- sources: [{model: o/a, layer_range: [0, 3]}]
- sources: [{model: o/a, layer_range: [1, 3]}]
"""
    made = plan(stacked, raw("o/a", UNET))
    names = set().union(*files(made).values())
    assert {name.split(".")[1] for name in names if name.startswith("down_blocks")} == {"0", "1", "2", "3", "4"}
    assert list(files(made)) == ["a-0.safetensors"]


def test_tokens_mean_nothing_here() -> None:
    with pytest.raises(Refused) as refused:
        plan(f"{LINEAR}tokenizer: {{source: union}}", raw("o/a", UNET), raw("o/b", UNET))
    assert [one.code for one in refused.value.findings] == ["tokenizer-not-supported"]
    made = plan(f"{LINEAR}chat_template: chatml", raw("o/a", UNET), raw("o/b", UNET))
    assert found(made, "chat-template-unused").level == "warning"
    assert "chat_template.jinja" not in made.texts


def test_documents_and_modules_of_weights_only() -> None:
    both = f"name: both\n{LINEAR}---\n{LINEAR.replace('o/a', 'both').replace('o/b', 'o/c')}"
    made = plan(both, raw("o/a", UNET), raw("o/b", UNET), raw("o/c", UNET))
    assert files(made) == {"a-0.safetensors": set(UNET)}
    assert "config.json" not in made.texts
    parts = {f"{part}.{name}": shape for part in ("net", "voice") for name, shape in UNET.items()}
    modular = "merge_method: linear\nmodules:\n  voice:\n    models:\n" + "".join(
        f"    - {{model: o/{name}, parameters: {{weight: 1}}}}\n" for name in "ab"
    )
    made = plan(modular, raw("o/a", parts, 2), raw("o/b", parts))
    assert set().union(*files(made).values()) == set(parts)
    assert {step.method for step in made.steps() if step.name.startswith("net.")} == {"copy"}


def test_a_tokenizer_that_lies_beside_them_is_not_spoken_of() -> None:
    models = [raw(ref, llama_shapes(), extra=("tokenizer.json",)) for ref in ("o/a", "o/b")]
    assert not [one.code for one in check(recipe(LINEAR), family(*models)) if "tokenizer" in one.code]
    assert not plan(LINEAR, *models).carries


def test_factors_of_adapters_are_told_from_weights() -> None:
    lora = {"unet.to_q.lora_up.weight": (8, 2), "unet.to_q.lora_down.weight": (2, 8)}
    made = plan(LINEAR, raw("o/a", lora), raw("o/b", lora))
    assert {one.where for one in made.findings if one.code == "factors-merged"} == {"o/a", "o/b"}


def test_the_files_of_diffusers_keep_their_names_and_their_class() -> None:
    config = {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": "0.30.0",
        "_name_or_path": "x",
        "act": "silu",
    }
    models = [replace(raw(ref, UNET), config=config) for ref in ("o/a", "o/b")]
    made = plan(LINEAR, *models)
    assert files(made) == {"a-0.safetensors": set(UNET)}
    assert '"UNet2DConditionModel"' in made.texts["config.json"]
    assert "_name_or_path" not in made.texts["config.json"]
    assert "torch_dtype" not in made.texts["config.json"]


def test_the_loom_has_a_row_for_each_block_or_for_each_kind_of_tensor() -> None:
    drawn = loom(plan(LINEAR, raw("o/a", UNET), raw("o/b", UNET)))
    assert [row.layer for row in drawn.rows if row.layer is not None] == list(range(BLOCKS))
    assert {"q", "norm", "conv1"} == set(drawn.columns)
    drawn = loom(plan(LINEAR, raw("o/a", VOICE), raw("o/b", VOICE)))
    assert not drawn.columns
    assert all(cell.shares == (0.5, 0.5) for row in drawn.rows for cell in row.cells if cell)
    assert sum(cell.elements for row in drawn.rows for cell in row.cells if cell) == sum(map(prod, VOICE.values()))


def test_the_card_says_how_to_load_tensors() -> None:
    card = model_card(plan(LINEAR, raw("o/a", UNET, 2), raw("o/b", UNET)), "Night and day")
    assert "load_file" in card
    assert "'a-0.safetensors', 'a-1.safetensors'" in card
    assert "transformers" not in card
    with_config = model_card(
        plan(LINEAR, facts("o/a", llama_shapes()), facts("o/b", llama_shapes(), llama_config())), ""
    )
    assert "AutoModelForCausalLM" in with_config
