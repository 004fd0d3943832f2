"""Merges of many families, from the recipe to a checkpoint that transformers loads whole and that answers as it should.

The oracle is transformers and torch alone: the parents loaded, averaged in fp64, or their layers put in a new order.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from app.library.facts import Library
from app.recipe.findings import Refused
from tests.support.families import FAMILIES, answer, load, make_family
from tests.worker.quiet import merged

STACKABLE = [name for name, family in FAMILIES.items() if family.stack]
LAYERS = (0, 2, 1, 1, 2)
LINEAR = """\
merge_method: linear
models:
- {{model: 'local:models/{name}-1', parameters: {{weight: 0.3}}}}
- {{model: 'local:models/{name}-2', parameters: {{weight: 0.7}}}}
dtype: float32
"""
MARKS = {
    "bert": "cls.predictions.transform.dense.weight",
    "bert-classifier": "classifier.bias",
    "cohere": "model.layers.3.mlp.gate_proj.weight",
    "falcon": "transformer.h.3.input_layernorm.bias",
    "gemma2": "model.layers.3.pre_feedforward_layernorm.weight",
    "gemma3": "model.layers.3.self_attn.k_norm.weight",
    "gemma3-vl": "multi_modal_projector.mm_input_projection_weight",
    "gemma3-older": "model.layers.3.self_attn.k_norm.weight",
    "gpt-neox": "gpt_neox.layers.3.attention.query_key_value.bias",
    "gpt2": "transformer.h.2.attn.c_attn.bias",
    "granite-hybrid": "model.layers.2.mamba.A_log",
    "llama": "model.layers.3.mlp.down_proj.bias",
    "llama-classifier": "score.weight",
    "mistral3": "multi_modal_projector.linear_1.weight",
    "mixtral": "model.layers.3.block_sparse_moe.experts.3.w2.weight",
    "modernbert": "decoder.bias",
    "phi3": "model.layers.3.self_attn.qkv_proj.weight",
    "qwen2-tied": "model.layers.3.self_attn.q_proj.bias",
    "qwen2.5-vl": "visual.blocks.1.mlp.gate_proj.weight",
    "qwen2-vl": "visual.blocks.1.attn.qkv.bias",
    "qwen3": "model.layers.3.self_attn.q_norm.weight",
    "qwen3-moe": "model.layers.1.mlp.experts.3.gate_proj.weight",
    "roberta": "encoder.layer.2.attention.self.query.weight",
    "t5": "decoder.block.2.layer.1.EncDecAttention.q.weight",
    "threadmill": "mill.spindles.3.tension",
    "whisper": "model.decoder.layers.2.encoder_attn.q_proj.weight",
}
"""A tensor of each family, under the name it has in published checkpoints."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parents of each family, the second one in several files."""
    folder = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        make_family(name, folder / f"{name}-1", seed=1)
        make_family(name, folder / f"{name}-2", seed=2, shard_size="60KB")
    return folder


def names(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            found |= set(file.keys())
    return found


def settings(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def same(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    return one.shape == other.shape and bool(((one - other).abs() <= tolerance * other.abs().max()).all())


@pytest.mark.parametrize("name", FAMILIES)
def test_an_average_loads_whole_and_answers_like_the_average(
    name: str, models: Path, library: Library, tmp_path: Path
) -> None:
    plan = merged(LINEAR.format(name=name), library, tmp_path)
    assert not [one for one in plan.findings if one.level != "info"]
    assert MARKS[name] in names(models / f"{name}-1")
    assert names(tmp_path / "out") == names(models / f"{name}-1")
    assert {part["dtype"] for part in _parts(settings(tmp_path / "out")) if "dtype" in part} == {"float32"}

    result, one, other = (load(folder) for folder in (tmp_path / "out", models / f"{name}-1", models / f"{name}-2"))
    mine, first, second = result.state_dict(), one.state_dict(), other.state_dict()
    assert mine.keys() == first.keys()
    expected = {}
    for key, values in first.items():
        floats = values.is_floating_point()
        expected[key] = 0.3 * values.double() + 0.7 * second[key].double() if floats else values
        assert not floats or mine[key].dtype == torch.float32
        assert same(mine[key].double(), expected[key].double(), 1e-6), key
    oracle = one.double()
    oracle.load_state_dict(expected)
    said = answer(name, result)
    assert said.isfinite().all()
    assert said.std() > 0.01
    assert same(said, answer(name, oracle), 1e-4)


@pytest.mark.parametrize("name", STACKABLE)
def test_a_stack_loads_whole_and_answers_like_its_layers_in_that_order(
    name: str, models: Path, library: Library, tmp_path: Path
) -> None:
    slices = "".join(
        f"- sources: [{{model: 'local:models/{name}-1', layer_range: [{layer}, {layer + 1}]}}]\n" for layer in LAYERS
    )
    plan = merged(f"merge_method: passthrough\nslices:\n{slices}", library, tmp_path)
    assert not [one for one in plan.findings if one.level != "info"]
    result, oracle = load(tmp_path / "out").double(), load(models / f"{name}-1").double()
    reorder(oracle, name)
    mine, theirs = result.state_dict(), oracle.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(mine[key].equal(theirs[key]) for key in mine)
    assert answer(name, result).equal(answer(name, oracle))


def reorder(model: Any, name: str) -> None:
    """Give a loaded model the layers ``LAYERS``."""
    config = model.config.get_text_config()
    path, _, last = FAMILIES[name].stack.rpartition(".")
    layers = [copy.deepcopy(model.get_submodule(FAMILIES[name].stack)[layer]) for layer in LAYERS]
    for number, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
    model.get_submodule(path).add_module(last, torch.nn.ModuleList(layers))
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[layer] for layer in LAYERS]
    if hasattr(config, "num_hidden_layers"):
        config.num_hidden_layers = len(LAYERS)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in STACKABLE])
def test_slices_of_an_encoder_decoder_are_refused(name: str, library: Library, tmp_path: Path) -> None:
    slices = f"slices: [{{sources: [{{model: 'local:models/{name}-1', layer_range: [0, 1]}}]}}]\n"
    with pytest.raises(Refused) as refused:
        merged(f"merge_method: passthrough\n{slices}", library, tmp_path)
    assert refused.value.findings[0].code == "several-stacks"


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [config, *(part for part in config.values() if isinstance(part, dict))]


def test_a_layer_unlike_the_others_is_told_when_it_moves(library: Library, models: Path, tmp_path: Path) -> None:
    """ModernBERT's layer 0 has no norm before its attention."""
    text = "merge_method: passthrough\nslices:\n" + "".join(
        f"- sources: [{{model: 'local:models/modernbert-1', layer_range: [{layer}, {layer + 1}]}}]\n"
        for layer in (1, 0)
    )
    (told,) = [one for one in merged(text, library, tmp_path).findings if one.level == "warning"]
    assert told.code == "uneven-layers"
    assert "Layer 0 of the result, which was layer 1 of local:models/modernbert-1, brings attn_norm.weight" in told.text
    with pytest.raises(AssertionError):
        load(tmp_path / "out")
