"""What enters each layer of a base, held against transformers' own hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from app.experts.dense import read_dense
from app.experts.rope import frequencies
from app.experts.targets import KINDS
from app.planning.plan import Plan
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from app.recipe.schema import Recipe
from tests.experts.models import dense, library
from worker.experts.hidden import entering
from worker.experts.weights import opened

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
PROMPTS = [[5, 9, 200, 31, 7, 7, 150, 12, 99, 4, 18], [300], [1, 2, 3, 4]]


def states_of(folder: Path, name: str, threads: int = 2) -> list[list[np.ndarray]]:
    shelf = library(folder)
    facts = shelf.facts(parse_reference(f"local:d/{name}"))
    shelf.close()
    model = read_dense(facts, KINDS[str(facts.config["model_type"])])
    plan = Plan(Recipe("passthrough"), (facts,), ())
    with opened(plan, [folder / name], lambda: None, threads) as weights:
        return [list(states) for states in entering(model, weights, PROMPTS, lambda _: None)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("llama", {}),
        ("llama", {"rope_parameters": LLAMA3, "num_key_value_heads": 1}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 500.0}, "head_dim": 12}),
        ("mistral", {"sliding_window": 4}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"num_key_value_heads": 4}),
        ("qwen3", {"attention_bias": True}),
    ],
)
def test_states_are_those_of_transformers(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    dense(kind, tmp_path / "base", 1, **settings)
    model = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32, attn_implementation="eager")
    found = states_of(tmp_path, "base")
    for number, prompt in enumerate(PROMPTS):
        with torch.no_grad():
            theirs = model(torch.tensor([prompt]), output_hidden_states=True).hidden_states[:-1]
        assert len(found) == len(theirs)
        for layer, wanted in enumerate(theirs):
            scale = float(wanted.abs().max())
            np.testing.assert_allclose(found[layer][number], wanted[0].numpy(), rtol=0, atol=1e-4 * max(1.0, scale))


def test_threads_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.experts.weights.BLOCK", 32 * 5)
    monkeypatch.setattr("worker.experts.hidden.GROUP", 6)
    dense("qwen3", tmp_path / "base", 2)
    one, many = (states_of(tmp_path, "base", threads) for threads in (1, 5))
    for mine, theirs in zip(one, many, strict=True):
        assert all((first == second).all() for first, second in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("rope", [{"rope_scaling": {"type": "yarn", "factor": 4}}, {"partial_rotary_factor": 0.5}])
def test_positions_that_are_not_known_are_refused(rope: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="cheap_embed"):
        frequencies(rope, 16, "o/a")
