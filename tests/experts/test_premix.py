"""What is known, told and refused before a mixture is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.experts.planning import lay_out_routers
from app.experts.wanted import read_mixture
from app.library.facts import Library
from app.premix import Premix, premix
from app.recipe.findings import Refused
from tests.experts.models import dense, library, recipe_of
from tests.support.checkpoints import read_tensors, write_weights

EXPERTS = {"one": "Code", "two": "Poems"}
SHARED = "shared_experts: [{source_model: local:d/base, positive_prompts: [anything]}]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    for seed, name in enumerate(("base", *EXPERTS)):
        dense("llama", folder / name, seed)
        dense("qwen2", folder / f"q-{name}", seed)
    dense("llama", folder / "wide", 9, intermediate_size=64)
    dense("llama", folder / "deep", 9, num_hidden_layers=4)
    dense("llama", folder / "biased", 9, attention_bias=True)
    dense("llama", folder / "mlp-biased", 9, mlp_bias=True)
    dense("llama", folder / "gelu", 9, hidden_act="gelu")
    dense("llama", folder / "words", 9, vocab_size=400)
    dense("llama", folder / "yarn", 9)
    change(folder / "yarn", rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0})
    dense("llama", folder / "mute", 9)
    (folder / "mute" / "tokenizer.json").unlink()
    dense("mistral", folder / "cousin", 9)
    dense("qwen3", folder / "q3", 9)
    return folder


@pytest.fixture(scope="module")
def shelf(folder: Path) -> Iterator[Library]:
    shelf = library(folder)
    yield shelf
    shelf.close()


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def looked(shelf: Library, text: str) -> Premix:
    return premix(read_mixture(text), shelf)


def codes(shelf: Library, text: str) -> dict[str, str]:
    return {one.code: one.level for one in looked(shelf, text).findings}


def refused(shelf: Library, text: str) -> dict[str, str]:
    with pytest.raises(Refused) as problem:
        looked(shelf, text)
    return {one.code: f"{one.text} {one.fix}" for one in problem.value.findings}


def test_an_ordinary_mixture_is_told_in_few_words(shelf: Library) -> None:
    found = looked(shelf, recipe_of(EXPERTS))
    assert [one.code for one in found.findings] == ["only-mlps", "mixture-size", "config-repaired"]
    changes = {change.key for one in found.findings for change in one.changes}
    assert {"model_type", "architectures", "num_local_experts", "num_experts_per_tok"} <= changes
    assert found.estimate.output_bytes > found.plan.parameters * 4
    assert found.target.title == "Mixtral"
    assert [str(one) for one in found.wanted.parents()] == ["local:d/base", "local:d/one", "local:d/two"]


@pytest.mark.parametrize(
    ("text", "code", "level"),
    [
        (recipe_of({**EXPERTS, "base": "All"}), "not-a-power-of-two", "warning"),
        (recipe_of({"one#1": "a", "one#2": "b"}), "experts-alike", "warning"),
        (recipe_of({"one": "a", "two": "a"}), "same-prompts", "warning"),
        (recipe_of({"one": "a", "words": "b"}), "other-vocabulary", "warning"),
        (recipe_of(EXPERTS, gate_mode="random"), "needs-training", "warning"),
        (recipe_of(EXPERTS, gate_mode="hidden_avg"), "averages-alike", "info"),
        (recipe_of({"one": "a", "cousin": "b"}), "mixture-size", "info"),
    ],
)
def test_what_is_worth_knowing_is_told(shelf: Library, text: str, code: str, level: str) -> None:
    assert codes(shelf, text)[code] == level


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (recipe_of(EXPERTS, experts_per_token=3), "too-few-experts", "there are 2"),
        (recipe_of({"one": "a", "wide": "b"}), "sizes-differ", "64 wide MLPs (the base 48)"),
        (recipe_of({"one": "a", "deep": "b"}), "sizes-differ", "4 layers (the base 3)"),
        (recipe_of({"one": "a", "gelu": "b"}), "activations-differ", "gelu"),
        (recipe_of({"one": "a", "mlp-biased": "b"}), "no-place", "biases"),
        (recipe_of({"one": "a", "q3": "b"}), "another-kind", "llama and mistral"),
        (recipe_of(EXPERTS, base_model="local:d/biased"), "no-place", "Mixtral has no place"),
        (recipe_of(EXPERTS, architecture="qwen3"), "wrong-architecture", "llama and mistral become Mixtral"),
        (recipe_of({"one": " ", "two": "b"}), "prompt-empty", "local:d/one"),
        (recipe_of(EXPERTS, base_model="local:d/mute"), "no-tokenizer", "tokenizer.json"),
        (recipe_of(EXPERTS, base_model="local:d/yarn"), "positions-unknown", "cheap_embed"),
        (recipe_of(EXPERTS) + SHARED, "no-shared-experts", "Mixtral"),
        (recipe_of({"q-one": "a", "q-two": "b"}, base_model="local:d/q-base"), "shared-expert-missing", "exactly one"),
        (recipe_of({"one": "a", "nobody": "b"}), "model-not-found", "nobody"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_to_do(shelf: Library, text: str, code: str, told: str) -> None:
    assert told in refused(shelf, text)[code]


def test_prompts_are_asked_for_only_where_routers_are_made_of_them(shelf: Library) -> None:
    text = "base_model: local:d/base\nexperts: [{source_model: local:d/one}, {source_model: local:d/two}]\n"
    assert "gate_mode" in refused(shelf, text)["prompts-missing"]
    for mode in ("random", "uniform_random"):
        assert looked(shelf, f"{text}gate_mode: {mode}\n").plan.shards
    cheap = recipe_of(EXPERTS, base_model="local:d/yarn", gate_mode="cheap_embed")
    assert looked(shelf, cheap).plan.shards


def test_models_of_other_kinds_cannot_be_a_base(shelf: Library, folder: Path) -> None:
    dense("llama", folder / "odd", 9)
    change(folder / "odd", model_type="gemma2")
    assert "qwen3 become Qwen3-MoE" in refused(shelf, recipe_of(EXPERTS, base_model="local:d/odd"))["cannot-be-mixed"]


@pytest.mark.parametrize(
    "lie", [{"num_attention_heads": 5}, {"num_hidden_layers": 10**9}, {"num_attention_heads": "four"},
            {"num_hidden_layers": None}, {"rms_norm_eps": "small"}, {"head_dim": 7}],
)  # fmt: skip
def test_a_config_that_lies_is_refused(shelf: Library, folder: Path, lie: dict[str, object]) -> None:
    name = f"liar-{abs(hash(str(lie)))}"
    dense("llama", folder / name, 9)
    change(folder / name, **lie)
    assert refused(shelf, recipe_of(EXPERTS, base_model=f"local:d/{name}")).keys() <= {
        "cannot-be-mixed",
        "missing-tensor",
    }


def test_tensors_are_never_dropped_without_a_word(shelf: Library, folder: Path) -> None:
    dense("llama", folder / "more", 9)
    own = read_tensors(folder / "more")
    write_weights(
        folder / "more", {**own, "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}, "float32"
    )
    assert codes(shelf, recipe_of(EXPERTS, base_model="local:d/more"))["buffers-left-out"] == "info"
    write_weights(folder / "more", {**own, "model.extra.weight": np.ones(4, np.float32)}, "float32")
    assert "model.extra.weight" in refused(shelf, recipe_of(EXPERTS, base_model="local:d/more"))["no-place"]


def test_other_prompts_or_another_seed_are_other_routers(shelf: Library) -> None:
    texts = [recipe_of(EXPERTS), recipe_of({**EXPERTS, "two": "Prose"}), recipe_of(EXPERTS, seed=1),
             recipe_of(EXPERTS, gate_mode="hidden_avg"), recipe_of(EXPERTS, base_model="local:d/one")]  # fmt: skip
    files = {lay_out_routers(one.wanted, one.dense, one.target).file for one in (looked(shelf, text) for text in texts)}
    assert len(files) == len(texts)
