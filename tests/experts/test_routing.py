"""Routers where something is special: adapters, long prompts, broken tokenizers and weights, branches on the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.recipe.findings import Refused
from tests.experts.models import dense, mixed, recipe_of
from tests.support.adapters import factors, product, write_adapter
from tests.support.checkpoints import read_tensors, write_weights
from tests.support.quiet import Quiet
from worker.experts.gates import Prompts, drawn, most_alike
from worker.experts.prompts import MOST_IN_ALL, tokenise

EXPERTS = {"one": "Code", "two": "Poems"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("base", *EXPERTS)):
        dense("llama", tmp_path / name, seed)
    return tmp_path


def routers(out: Path) -> np.ndarray:
    """fp64 [layers, experts, hidden]."""
    own = read_tensors(out)
    return np.stack([own[f"model.layers.{layer}.block_sparse_moe.gate.weight"] for layer in range(3)]).astype(
        np.float64
    )


def test_models_with_adapters_are_base_and_expert(folder: Path) -> None:
    """As if the adapters had been added to their models before."""
    for seed, (name, module) in enumerate((("base", "self_attn.q_proj"), ("one", "mlp.up_proj"))):
        rows = 48 if "mlp" in module else 32
        places = [f"model.layers.{layer}.{module}" for layer in range(3)]
        tensors: dict[str, np.ndarray] = {}
        for place in places:
            tensors |= factors(place, rows, 32, 2, seed)
        write_adapter(folder / f"{name}-lora", tensors, r=2, lora_alpha=4)
        own = read_tensors(folder / name)
        for place in places:
            own[f"{place}.weight"] = (own[f"{place}.weight"] + 2 * product(tensors, place)).astype(np.float32)
        dense("llama", folder / f"{name}-added", 0)
        write_weights(folder / f"{name}-added", own, "float32")
    apart = recipe_of({"one": "Code", "two": "Poems"}, base_model="local:d/base+local:d/base-lora")
    apart = apart.replace("source_model: local:d/one", "source_model: local:d/one+local:d/one-lora")
    first = mixed(apart, folder, "first")
    second = mixed(recipe_of({"one-added": "Code", "two": "Poems"}, base_model="local:d/base-added"), folder, "second")
    mine, theirs = read_tensors(first), read_tensors(second)
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(values, theirs[name], rtol=0, atol=1e-5, err_msg=name)
    assert "one-lora" in (first / "README.md").read_text()


def test_of_a_long_prompt_the_beginning_counts_and_that_is_told(folder: Path) -> None:
    long, cut = "ab " * 400, "ab " * 400 + "and more"
    watch = Quiet()
    first, second = (
        mixed(recipe_of({"one": text, "two": "b"}), folder, text[-3:].strip() or "x", watch=watch)
        for text in (long, cut)
    )
    assert (routers(first) == routers(second)).all()
    assert any("Only the first 512 count" in line for line in watch.lines)
    assert any(line.startswith("Prompts of a single token: 1.") for line in watch.lines)


def test_a_base_with_broken_weights_is_told(folder: Path) -> None:
    own = read_tensors(folder / "base")
    own["model.layers.0.mlp.down_proj.weight"][3, 4] = np.nan
    write_weights(folder / "base", own, "float32")
    with pytest.raises(Refused, match="Running local:d/base over the prompts gives values that are NaN"):
        mixed(recipe_of(EXPERTS), folder)


@pytest.mark.parametrize("content", ["{}", "not json", '{"model": {"type": "BPE", "vocab": 3}}'])
def test_a_tokenizer_that_cannot_be_used_is_told(folder: Path, content: str) -> None:
    (folder / "base" / "tokenizer.json").write_text(content)
    with pytest.raises(Refused, match=r"tokenizer\.json"):
        mixed(recipe_of(EXPERTS), folder)


def test_ids_without_a_row_and_prompts_without_end_are_refused(folder: Path) -> None:
    text = (folder / "base" / "tokenizer.json").read_text()
    with pytest.raises(Refused, match="beyond the 40 rows"):
        tokenise(text, ["Code"], 40, "o/a")
    with pytest.raises(Refused, match=f"{MOST_IN_ALL:,} are taken"):
        tokenise(text, ["a b c d " * 200] * 70, 320, "o/a")
    found, cut = tokenise(text, ["a", "a b c d " * 200], 320, "o/a")
    assert (len(found[1]), cut) == (512, 1)


def test_special_tokens_are_those_of_the_tokenizer(folder: Path) -> None:
    told = json.loads((folder / "base" / "tokenizer.json").read_text())
    told["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }  # fmt: skip
    told["truncation"] = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    plain, _ = tokenise((folder / "base" / "tokenizer.json").read_text(), ["Once more"], 320, "o/a")
    begun, _ = tokenise(json.dumps(told), ["Once more"], 320, "o/a")
    assert begun == [[1, *plain[0]]]


def test_rows_are_sums_of_length_one_and_zero_where_prompts_cancel_out() -> None:
    from app.experts.wanted import Expert
    from app.recipe.schema import ModelRef

    experts = [Expert(ModelRef("o/a"), ("a", "b"), ("c",)), Expert(ModelRef("o/b"), ("a",), ("a",))]
    a, b, c = np.eye(4, dtype=np.float32)[:3] * 3
    rows = Prompts(experts).rows([a, b, c, a, a])
    np.testing.assert_allclose(rows[0], np.array([1, 1, -1, 0]) / 3**0.5, atol=1e-7)
    assert not rows[1].any()
    assert most_alike([rows])[2] == 0.0
    assert most_alike([rows[:1]]) is None


def test_numbers_drawn_are_of_the_kind_that_was_asked_for() -> None:
    normal, even = (drawn(mode, 7, 3, 64, 512).astype(np.float64) for mode in ("random", "uniform_random"))
    for values in (normal, even):
        assert abs(values.mean()) < 3e-4
        assert abs(values.std() - 0.02) < 3e-4
    assert np.abs(even).max() <= 0.02 * 3**0.5
    assert 3.9 < np.abs(normal).max() / 0.02 < 6
    assert not (drawn("random", 7, 3, 64, 512, shared=True) == normal.astype(np.float32)).any()
