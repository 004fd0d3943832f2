"""Merges by modules, from the recipe to a checkpoint that transformers loads whole.

The oracle is NumPy in fp64 over the parents' own files.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

from app.library.facts import Library
from app.planning.shares import loom
from tests.support import families
from tests.support.checkpoints import read_tensors
from tests.worker.quiet import merged

TEXT = families._DECODER
CLIP = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 16,
    "patch_size": 4,
}  # fmt: skip


def save(model: torch.nn.Module, folder: Path) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
        model.to(torch.bfloat16).save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modular")
    families.make_family("qwen2-vl", folder / "qwen2-vl", seed=1)
    families.make_family("t5", folder / "t5", seed=3)
    families.make_family("t5", folder / "t5-other", seed=4)
    torch.manual_seed(2)
    save(hf.Qwen2ForCausalLM(hf.Qwen2Config(**TEXT)), folder / "qwen2")
    save(hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT)), folder / "llama")
    vision, text = hf.CLIPVisionConfig(**CLIP), hf.LlamaConfig(**TEXT)
    llava = hf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=5)
    save(hf.LlavaForConditionalGeneration(llava), folder / "llava")
    return folder


@pytest.mark.parametrize(
    ("vlm", "llm", "prefix"), [("qwen2-vl", "qwen2", ""), ("llava", "llama", "language_model.")]
)  # fmt: skip
def test_a_language_model_merged_into_a_vision_language_model(
    vlm: str, llm: str, prefix: str, models: Path, library: Library, tmp_path: Path
) -> None:
    recipe = f"""
merge_method: linear
modules:
  language_model:
    models:
    - {{model: 'local:models/{vlm}', parameters: {{weight: [0.25, 0.75]}}}}
    - {{model: 'local:models/{llm}', parameters: {{weight: [0.75, 0.25]}}}}
dtype: float32
"""
    plan = merged(recipe, library, tmp_path)
    assert [one.code for one in plan.findings if one.level != "info"] == []
    families.load(tmp_path / "out")
    result, one, other = (read_tensors(folder) for folder in (tmp_path / "out", models / vlm, models / llm))
    assert set(result) == set(one)
    for name, values in result.items():
        own = name.removeprefix(prefix)
        if name.startswith(prefix) and own in other:
            layer = next((int(word) for word in own.split(".") if word.isdigit()), 0)
            share = 0.25 + 0.5 * layer / 3
            expected = share * one[name].astype(np.float64) + (1 - share) * other[own].astype(np.float64)
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(values, one[name])
    rows = {row.layer: row for row in loom(plan).rows if row.layer is not None}
    assert [cell.shares for cell in rows[0].cells[:1] if cell] == [pytest.approx((0.25, 0.75))]
    assert len(rows) == 4


def test_encoder_and_decoder_are_stacked_each_by_itself(models: Path, library: Library, tmp_path: Path) -> None:
    recipe = """
merge_method: linear
modules:
  encoder:
    slices:
    - sources: [{model: 'local:models/t5', layer_range: [0, 2], parameters: {weight: 1}}]
    - sources: [{model: 'local:models/t5', layer_range: [1, 2], parameters: {weight: 1}}]
  decoder:
    models:
    - {model: 'local:models/t5', parameters: {weight: 0.5}}
    - {model: 'local:models/t5-other', parameters: {weight: 0.5}}
"""
    merged(recipe, library, tmp_path)
    families.load(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["num_layers"], config["num_decoder_layers"]) == (3, 3)
    result, one, other = (read_tensors(folder) for folder in (tmp_path / "out", models / "t5", models / "t5-other"))
    ending = "layer.1.DenseReluDense.wo.weight"
    np.testing.assert_array_equal(result[f"encoder.block.2.{ending}"], one[f"encoder.block.1.{ending}"])
    expected = (one["shared.weight"].astype(np.float64) + other["shared.weight"]) / 2
    np.testing.assert_allclose(result["shared.weight"], expected, rtol=2**-8)
