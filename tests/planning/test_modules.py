"""Recipes by modules: which tensors of which parents meet, under which names."""

from __future__ import annotations

import pytest

from app.planning.layers import read_structure
from app.planning.parts import find_parts
from app.planning.plan import Plan, Step
from app.planning.plan_merge import make_plan
from app.recipe.findings import Refused
from tests.planning.models import Shapes, facts, family, llama_config, llama_shapes, recipe


def renamed(shapes: Shapes, prefix: str, instead: str) -> Shapes:
    return {name.replace(prefix, instead, 1) if name.startswith(prefix) else name: one for name, one in shapes.items()}


def tower(prefix: str, layers: int = 2) -> Shapes:
    shapes = {f"{prefix}.blocks.{i}.{name}.weight": (4, 4) for i in range(layers) for name in ("qkv", "fc1", "fc2")}
    return {**shapes, f"{prefix}.patch_embed.weight": (4, 3)}


LLM = llama_shapes(3)
VLM_CONFIG = {
    "architectures": ["ForConditionalGeneration"],
    "text_config": {"num_hidden_layers": 3, "vocab_size": 32},
    "vision_config": {"depth": 2},
}
NESTED = {**renamed(LLM, "model.", "model.language_model."), **tower("model.visual"), "model.merger.fc.weight": (8, 4)}
WRAPPED = {
    **{f"language_model.{name}": shape for name, shape in LLM.items()}, **tower("vision_tower"),
    "multi_modal_projector.linear_1.weight": (8, 4), "image_newline": (8,),
}  # fmt: skip
BESIDE = {**LLM, **tower("visual"), "visual.merger.mlp.0.weight": (8, 4)}
ENCODER_DECODER = {
    "shared.weight": (32, 8), "lm_head.weight": (32, 8), "encoder.final_norm.weight": (8,),
    "decoder.final_norm.weight": (8,),
    **{f"encoder.block.{i}.{name}.weight": (8, 8) for i in range(2) for name in "qkv"},
    **{f"decoder.block.{i}.{name}.weight": (8, 8) for i in range(2) for name in "qkvx"},
}  # fmt: skip
SEQ2SEQ = {"is_encoder_decoder": True, "num_layers": 2, "num_decoder_layers": 2, "vocab_size": 32}


@pytest.mark.parametrize(
    ("shapes", "config", "parts"),
    [
        (NESTED, VLM_CONFIG, {"language_model": 30, "visual": 7, "merger": 1}),
        (WRAPPED, VLM_CONFIG, {"language_model": 30, "vision_tower": 7, "multi_modal_projector": 1}),
        (BESIDE, VLM_CONFIG, {"model": 30, "visual": 8}),
        (LLM, llama_config(3), {"default": 30}),
        (ENCODER_DECODER, SEQ2SEQ, {"encoder": 7, "decoder": 11}),
    ],
)  # fmt: skip
def test_parts_are_found_by_names_alone(shapes: Shapes, config: dict, parts: dict[str, int]) -> None:
    model = facts("o/m", shapes, config)
    found = find_parts(model, read_structure(model))
    assert {name: len(part.names) for name, part in found.parts.items()} == parts
    assert all("lm_head.weight" not in name or part.role in ("text", "decoder") for part in found.parts.values()
               for name in part.names)  # fmt: skip


@pytest.mark.parametrize(
    ("shapes", "text", "vision", "link"),
    [
        (NESTED, "language_model", "visual", "merger"),
        (WRAPPED, "language_model", "vision_tower", "multi_modal_projector"),
        (BESIDE, "model", "visual", None),
    ],
)  # fmt: skip
def test_usual_names_mean_the_parts_whatever_they_are_called(
    shapes: Shapes, text: str, vision: str, link: str | None
) -> None:
    model = facts("o/m", shapes, VLM_CONFIG)
    parts = find_parts(model, read_structure(model))
    names = {name: part.name if (part := parts.find(name)) else None for name in
             ("text_decoder", "vision_tower", "multi_modal_projector", text, vision)}  # fmt: skip
    assert names == {
        "text_decoder": text,
        "vision_tower": vision,
        "multi_modal_projector": link,
        text: text,
        vision: vision,
    }
    assert parts.find("nothing") is None


def plan(text: str, *models: tuple[str, Shapes, dict]) -> Plan:
    return make_plan(recipe(text), family(*(facts(f"o/{name}", shapes, config) for name, shapes, config in models)))


INTO_VLM = """
merge_method: linear
modules:
  text_decoder:
    models:
    - {model: o/vlm, parameters: {weight: 0.25}}
    - {model: o/llm, parameters: {weight: 0.75}}
"""


@pytest.mark.parametrize(
    ("shapes", "layer", "head"),
    [
        (NESTED, "model.language_model.layers.2.mlp.up_proj.weight", "lm_head.weight"),
        (WRAPPED, "language_model.model.layers.2.mlp.up_proj.weight", "language_model.lm_head.weight"),
        (BESIDE, "model.layers.2.mlp.up_proj.weight", "lm_head.weight"),
    ],
)
def test_a_language_model_goes_into_the_language_part(shapes: Shapes, layer: str, head: str) -> None:
    made = plan(INTO_VLM, ("vlm", shapes, VLM_CONFIG), ("llm", LLM, llama_config(3)))
    steps = {step.name: step for step in made.steps()}
    assert set(steps) == set(shapes)
    for name in (layer, head):
        assert [(one.parent, one.tensor.name) for one in steps[name].inputs] == [
            (0, name), (1, "lm_head.weight" if name == head else "model.layers.2.mlp.up_proj.weight")
        ]  # fmt: skip
        assert [one.parameters["weight"] for one in steps[name].inputs] == [0.25, 0.75]
    assert sum(step.method == "linear" for step in steps.values()) == len(LLM)
    kept = [step for step in steps.values() if step.method == "copy"]
    assert {step.inputs[0].parent for step in kept} == {0}
    assert len(kept) == len(shapes) - len(LLM)
    (told,) = (finding for finding in made.findings if finding.code == "kept")
    assert f"{len(kept) - 2} more" in told.text
    assert '"text_config"' in made.texts["config.json"]


def test_the_frame_may_stand_behind_the_base() -> None:
    """The base is a language model, too: config and names are still those of the one that has several parts."""
    text = """
merge_method: task_arithmetic
base_model: o/llm
modules:
  language_model:
    models: [{model: o/vlm, parameters: {weight: 1}}, {model: o/chat, parameters: {weight: 0.5}}]
"""
    made = plan(text, ("llm", LLM, llama_config(3)), ("vlm", NESTED, VLM_CONFIG), ("chat", LLM, llama_config(3)))
    steps = {step.name: step for step in made.steps()}
    assert set(steps) == set(NESTED)
    step = steps["model.language_model.norm.weight"]
    assert step.base is not None
    assert (step.base.parent, step.base.tensor.name) == (0, "model.norm.weight")
    assert [(one.parent, one.tensor.name) for one in step.inputs] == [
        (1, "model.language_model.norm.weight"), (2, "model.norm.weight")
    ]  # fmt: skip
    assert "text_config" in made.texts["config.json"]


def test_a_head_of_its_own_goes_where_such_models_have_it() -> None:
    for shapes, head in ((NESTED, "lm_head.weight"), (WRAPPED, "language_model.lm_head.weight")):
        tied = {name: shape for name, shape in shapes.items() if name != head}
        config = {**VLM_CONFIG, "tie_word_embeddings": True}
        made = plan(INTO_VLM, ("vlm", tied, config), ("llm", LLM, llama_config(3)))
        assert head in {step.name for step in made.steps()}
        assert '"tie_word_embeddings": false' in made.texts["config.json"]


def test_values_come_from_model_slice_module_recipe_in_this_order() -> None:
    text = """
merge_method: linear
modules:
  visual:
    parameters: {weight: 0.3}
    models: [{model: o/a}, {model: o/b, parameters: {weight: 0.1}}]
  language_model:
    slices:
    - sources: [{model: o/a, layer_range: [0, 3]}, {model: o/b, layer_range: [0, 3]}]
      parameters: {weight: 0.7}
parameters: {weight: 0.9, normalize: false}
"""
    made = plan(text, ("a", NESTED, VLM_CONFIG), ("b", NESTED, VLM_CONFIG))
    steps = {step.name: step for step in made.steps()}
    assert weights(steps["model.visual.patch_embed.weight"]) == [0.3, 0.1]
    assert weights(steps["model.language_model.layers.1.mlp.up_proj.weight"]) == [0.7, 0.7]
    assert steps["model.visual.patch_embed.weight"].parameters["normalize"] is False


def weights(step: Step) -> list[object]:
    return [one.parameters["weight"] for one in step.inputs]


def test_slices_of_one_part_change_its_count_of_layers_alone() -> None:
    text = """
merge_method: passthrough
modules:
  decoder:
    slices:
    - sources: [{model: o/m, layer_range: [0, 2]}]
    - sources: [{model: o/m, layer_range: [1, 2]}]
"""
    made = plan(text, ("m", ENCODER_DECODER, SEQ2SEQ))
    steps = {step.name: step for step in made.steps()}
    assert steps["decoder.block.2.q.weight"].inputs[0].tensor.name == "decoder.block.1.q.weight"
    assert "encoder.block.2.q.weight" not in steps
    assert {"shared.weight", "lm_head.weight", "encoder.block.1.q.weight"} < set(steps)
    assert '"num_decoder_layers": 3' in made.texts["config.json"]
    assert '"num_layers": 2' in made.texts["config.json"]


def test_layers_of_the_vision_tower_are_counted_in_its_part_of_the_config() -> None:
    text = """
merge_method: passthrough
modules:
  vision_tower: {slices: [{sources: [{model: o/m, layer_range: [0, 1]}]}]}
"""
    config = {**VLM_CONFIG, "text_config": {"num_hidden_layers": 2, "vocab_size": 32}}
    shapes = {**renamed(llama_shapes(2), "model.", "model.language_model."), **tower("model.visual")}
    made = plan(text, ("m", shapes, config))
    assert '"depth": 1' in made.texts["config.json"]
    assert '"num_hidden_layers": 2' in made.texts["config.json"]


@pytest.mark.parametrize(
    ("modules", "code", "words"),
    [
        ("{langauge_model: {models: [{model: o/a}]}}", "unknown-module", ("visual, merger", "Did you mean")),
        ("{visual: {models: [{model: o/a}]}, vision_tower: {models: [{model: o/a}]}}", "module-twice", ("visual",)),
        ("{visual: {models: [{model: o/a}, {model: o/t5}]}}", "no-such-part", ("encoder, decoder",)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_parts_there_are(modules: str, code: str, words: tuple[str, ...]) -> None:
    text = f"merge_method: linear\nparameters: {{weight: 1}}\nmodules: {modules}\n"
    with pytest.raises(Refused) as refused:
        plan(text, ("a", NESTED, VLM_CONFIG), ("t5", ENCODER_DECODER, SEQ2SEQ))
    (finding,) = refused.value.findings
    assert finding.code == code
    assert all(word in finding.text + finding.fix for word in words)


def test_a_model_of_one_part_is_its_default_module() -> None:
    text = "merge_method: linear\nmodules: {default: {models: [{model: o/a, parameters: {weight: 1}}]}}\n"
    made = plan(text, ("a", LLM, llama_config(3)))
    assert {step.name for step in made.steps()} == set(LLM)
    with pytest.raises(Refused, match="one part"):
        plan(text.replace("default", "vision_tower2"), ("a", LLM, llama_config(3)))
