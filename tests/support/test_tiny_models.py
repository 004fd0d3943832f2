"""The tiny checkpoints are real ones: transformers loads and runs them, and fine-tunes differ as they should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.support.checkpoints import read_dtypes, read_file, read_tensors, rounded, weight_files
from tests.support.tiny_models import make_tiny


@pytest.mark.parametrize(
    ("kind", "tied", "shards"), [("llama", False, 4), ("llama", True, 1), ("mistral", False, 1), ("qwen2", True, 2)]
)
def test_transformers_loads_a_tiny_model_without_a_missing_or_unexpected_key(kind, tied, shards, tmp_path: Path):
    import torch
    import transformers

    folder = make_tiny(tmp_path / "model", seed=1, kind=kind, tied=tied, shards=shards)
    model, remarks = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(remarks.values()), remarks
    assert model.dtype == torch.bfloat16
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The loom is warm.", return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0]) == "The loom is warm."
    with torch.inference_mode():
        assert torch.isfinite(model(ids).logits).all()


def test_a_fine_tune_is_its_base_plus_a_small_change_in_every_tensor(tmp_path: Path):
    base = make_tiny(tmp_path / "base", seed=1)
    tuned = make_tiny(tmp_path / "tuned", seed=2, base=base, shards=3)
    before, after = read_tensors(base), read_tensors(tuned)
    assert before.keys() == after.keys()
    for name, values in before.items():
        change = after[name] - values
        assert 0 < np.abs(change).max() < 0.02, name
    assert set(read_dtypes(tuned).values()) == {"bfloat16"}
    assert json.loads((tuned / "config.json").read_text()) == json.loads((base / "config.json").read_text())


def test_the_same_arguments_give_the_same_bytes_and_another_seed_gives_others(tmp_path: Path):
    one, two, other = (make_tiny(tmp_path / name, seed=seed) for name, seed in (("one", 5), ("two", 5), ("other", 6)))
    assert [path.read_bytes() for path in sorted(one.iterdir())] == [p.read_bytes() for p in sorted(two.iterdir())]
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_size_dtype_and_shards_are_as_asked(dtype, tmp_path: Path):
    folder = make_tiny(
        tmp_path / "model", seed=3, layers=8, hidden=128, vocab=2000, shards=4, dtype=dtype
    )  # fmt: skip
    files = weight_files(folder)
    item = 4 if dtype == "float32" else 2
    assert len(files) == 4
    assert 4_000_000 < sum(path.stat().st_size for path in files) * 2 / item < 4_500_000
    assert max(path.stat().st_size for path in files) < 1.5 * min(path.stat().st_size for path in files)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {name: path.name for path in files for name in read_file(path)}
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() == 2000


def test_bfloat16_rounding_is_that_of_torch():
    import torch

    values = np.random.default_rng(0).normal(0, 1, 10_000).astype(np.float32)
    values[:4] = [1.00390625, 1.01171875, -1.00390625, 0.0]
    expected = torch.from_numpy(values).to(torch.bfloat16).to(torch.float32).numpy()
    assert np.array_equal(rounded(values, "bfloat16"), expected)
