"""Whole mixtures, from recipe to checkpoint, as transformers sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.experts.models import dense, ids, loaded, mixed, recipe_of
from tests.support.checkpoints import read_dtypes, read_tensors
from tests.support.quiet import Quiet

SHARED = "shared_experts:\n- {source_model: local:d/base, positive_prompts: [anything], residual_scale: 0.25}\n"
EXPERTS = {"one": "Write a function in C.", "two": "Un poème, s'il vous plaît."}
MLP = {
    "mixtral": ("block_sparse_moe.experts.{}.w1", "block_sparse_moe.experts.{}.w3", "block_sparse_moe.experts.{}.w2"),
    "qwen": ("mlp.experts.{}.gate_proj", "mlp.experts.{}.up_proj", "mlp.experts.{}.down_proj"),
}


def family(folder: Path, kind: str, **settings: Any) -> None:
    dense(kind, folder / "base", 1, **settings)
    for seed, name in enumerate(EXPERTS, start=2):
        dense(kind, folder / name, seed, **settings)


@pytest.mark.parametrize(
    ("kind", "mode", "settings"),
    [
        ("llama", "hidden", {"tie_word_embeddings": True}),
        ("mistral", "random", {"sliding_window": 6}),
        ("qwen3", "hidden_avg", {"tie_word_embeddings": True}),
        ("qwen3", "uniform_random", {"attention_bias": True}),
    ],
)
def test_experts_that_are_the_base_give_the_base(
    tmp_path: Path, kind: str, mode: str, settings: dict[str, Any]
) -> None:
    base = dense(kind, tmp_path / "base", 1, **settings)
    out = mixed(recipe_of({"base#1": "alpha", "base#2": "omega", "base#3": "nothing"}, gate_mode=mode), tmp_path)
    tokens = ids("The same weights whichever way a token goes.", base)
    with torch.no_grad():
        mine, theirs = (loaded(folder)(tokens).logits for folder in (out, base))
    scale = float(theirs.abs().max())
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5 * max(1.0, scale))


@pytest.mark.parametrize(
    ("kind", "settings"), [("llama", {}), ("qwen2", {"tie_word_embeddings": True}), ("qwen2", {}), ("qwen3", {})]
)
def test_experts_have_their_sources_mlps_and_the_rest_is_the_base(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    family(tmp_path, kind, **settings)
    out = mixed(recipe_of(EXPERTS) + (SHARED if kind == "qwen2" else ""), tmp_path)
    found, own = read_tensors(out), read_tensors(tmp_path / "base")
    names = MLP["qwen" if kind.startswith("qwen") else "mixtral"]
    for layer in range(3):
        for number, source in enumerate(EXPERTS):
            theirs = read_tensors(tmp_path / source)
            for name, part in zip(names, ("gate", "up", "down"), strict=True):
                made = found.pop(f"model.layers.{layer}.{name.format(number)}.weight")
                assert (made == theirs[f"model.layers.{layer}.mlp.{part}_proj.weight"]).all()
        for part, factor in (("gate", 1), ("up", 1), ("down", 0.25)) if kind == "qwen2" else ():
            made = found.pop(f"model.layers.{layer}.mlp.shared_expert.{part}_proj.weight")
            assert (made == own[f"model.layers.{layer}.mlp.{part}_proj.weight"] * factor).all()
    routers = {name for name in found if "gate" in name}
    assert len(routers) == (6 if kind == "qwen2" else 3)
    rest = {name: values for name, values in own.items() if ".mlp." not in name}
    assert found.keys() - routers == rest.keys()
    assert all((found[name] == values).all() for name, values in rest.items())
    loaded(out)


def test_a_prompt_goes_to_its_own_expert(tmp_path: Path) -> None:
    """Of all layers, in transformers' hidden states: the expert whose prompt it is has cosine 1, the others less."""
    family(tmp_path, "llama")
    negative = "  negative_prompts: ['Cook rice']\n"
    out = mixed(recipe_of(EXPERTS) + negative, tmp_path)
    base, made = loaded(tmp_path / "base"), read_tensors(out)
    told = [*EXPERTS.values(), "Cook rice"]
    with torch.no_grad():
        states = [base(ids(text, out), output_hidden_states=True).hidden_states for text in told]
    for layer in range(3):
        code, poem, rice = (one[layer][0, -1].double().numpy() for one in states)
        router = made[f"model.layers.{layer}.block_sparse_moe.gate.weight"].astype(np.float64)
        for row, wanted in zip(router, (code, poem - rice), strict=True):
            np.testing.assert_allclose(row, wanted / np.linalg.norm(wanted), atol=1e-4)
        assert np.argmax(router @ code) == 0
        assert np.argmax(router @ (poem - rice)) == 1


def test_cheap_embed_is_the_mean_of_the_prompts_embeddings(tmp_path: Path) -> None:
    family(tmp_path, "llama")
    out = mixed(recipe_of(EXPERTS, gate_mode="cheap_embed"), tmp_path)
    made = read_tensors(out)
    rows = made["model.embed_tokens.weight"].astype(np.float64)
    for layer in range(3):
        router = made[f"model.layers.{layer}.block_sparse_moe.gate.weight"]
        for row, prompt in zip(router, EXPERTS.values(), strict=True):
            mean = rows[ids(prompt, out)[0].numpy()].mean(axis=0)
            np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_everything_beside_the_weights(tmp_path: Path) -> None:
    family(tmp_path, "mistral", sliding_window=100, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    watch = Quiet()
    out = mixed(recipe_of(EXPERTS, dtype="bfloat16", experts_per_token=1), tmp_path, watch=watch)
    config = json.loads((out / "config.json").read_text())
    told = {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 100}
    assert told.items() <= config.items()
    assert config["rope_parameters"]["rope_theta"] == 5e5
    assert set(read_dtypes(out).values()) == {"bfloat16"}
    recipe = yaml.safe_load((out / "mergekit_moe_config.yml").read_text())
    assert [one["source_model"] for one in recipe["experts"]] == ["local:d/one", "local:d/two"]
    card = (out / "README.md").read_text()
    assert "| expert 2 | local:d/two |" in card
    assert "the routers were not trained" in card
    assert {"tokenizer.json", "tokenizer_config.json"} <= {path.name for path in out.iterdir()}
    assert watch.stages == ["checking", "routing", "merging", "verifying", "finalising"]
    assert any("most alike" in line for line in watch.lines)
    assert loaded(out).config.num_experts_per_tok == 1


def test_bytes_do_not_depend_on_threads_or_attempts(tmp_path: Path) -> None:
    family(tmp_path, "qwen3")
    text = recipe_of(EXPERTS)
    first = mixed(text, tmp_path, "first", threads=1)
    with pytest.raises(InterruptedError):
        mixed(text, tmp_path, "again", watch=Quiet("merging"))
    left = [path.name for path in (tmp_path / "again.work").iterdir()]
    assert [name.partition("-")[0] for name in left] == [".routers"]
    watch = Quiet()
    again = mixed(text, tmp_path, "again", watch=watch, threads=5)
    assert "The routers were made by an earlier attempt." in watch.lines
    for name in ("model.safetensors", "config.json", "mergekit_moe_config.yml"):
        assert (first / name).read_bytes() == (again / name).read_bytes()


def test_random_routers_are_small_differ_by_layer_and_come_from_the_seed(tmp_path: Path) -> None:
    family(tmp_path, "qwen2")
    text = recipe_of(EXPERTS, gate_mode="random", seed=3) + SHARED
    one, same = (read_tensors(mixed(text, tmp_path, name)) for name in ("one.out", "same"))
    other = read_tensors(mixed(text.replace("seed: 3", "seed: 4"), tmp_path, "other"))
    names = [name for name in one if name.endswith(("mlp.gate.weight", "shared_expert_gate.weight"))]
    assert len(names) == 6
    assert all((one[name] == same[name]).all() for name in names)
    assert not any((one[name] == other[name]).any() for name in names)
    every = np.concatenate([one[name].ravel() for name in names])
    assert len(np.unique(every)) == every.size
    assert 0.017 < every.std() < 0.023
