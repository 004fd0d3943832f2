"""PEFT itself as the oracle: what it trains is read right here, and what is made here it loads whole.

A model with an adapter is compared by what it says while the adapter is live on it: that is what was trained. PEFT's
own merging differs where matrices are tied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict

from app.library.facts import Library
from app.library.local import LocalRoots
from tests.support.checkpoints import read_tensors
from tests.support.families import make_family
from tests.support.quiet import Quiet
from tests.support.tiny_models import make_tiny
from worker.cli import OK, main
from worker.steps.checkpoint import Order, make_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
SOME = ["q_proj", "v_proj", "down_proj"]
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama", {"target_modules": SOME}),
    "rank-stabilised": ("llama", {"target_modules": SOME, "use_rslora": True, "lora_alpha": 3}),
    "dora": ("llama", {"target_modules": "all-linear", "use_dora": True}),
    "patterns": (
        "llama",
        {
            "target_modules": SOME,
            "rank_pattern": {"^model.layers.1.self_attn.q_proj": 2, r"layers\.[01]\.mlp\.down_proj": 6},
            "alpha_pattern": {"v_proj": 5, "layers.0.self_attn.q_proj": 1},
        },
    ),
    "saved-modules": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]}),
    "embedding-and-head": ("llama", {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}),
    "biases": ("qwen2", {"target_modules": ["q_proj"], "bias": "all"}),
    "bias-of-lora": ("qwen2", {"target_modules": ["q_proj"], "lora_bias": True}),
    "tied-embedding": ("tied", {"target_modules": ["embed_tokens"]}),
    "tied-head": ("tied", {"target_modules": ["lm_head"]}),
    "tied-embedding-saved": ("tied", {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}),
    "tied-and-to-stay": (
        "tied",
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "turned-matrices": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "fused-experts": (
        "qwen3-moe",
        {
            "target_modules": ["q_proj"],
            "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        },
    ),
}
TOKENS = torch.arange(20)[None] + 5


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    make_tiny(folder / "llama", seed=1, layers=2, dtype="float32")
    make_tiny(folder / "qwen2", seed=1, layers=2, dtype="float32", kind="qwen2")
    make_tiny(folder / "tied", seed=1, layers=2, dtype="float32", kind="qwen2", tied=True)
    for name in ("gpt2", "qwen3-moe"):
        make_family(name, folder / name, seed=1)
    return folder


@pytest.fixture
def library(bases: Path, tmp_path: Path) -> Iterator[Library]:
    library = Library(None, LocalRoots({"bases": bases, "made": tmp_path}))
    yield library
    library.close()


def model(folder: Path) -> Any:
    return hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def trained(base: Path, folder: Path, seed: int = 0, **settings: Any) -> Any:
    """A live model whose adapter has learnt something, saved into ``folder``."""
    torch.manual_seed(seed)
    live = get_peft_model(model(base), LoraConfig(**{"r": 4, "task_type": "CAUSAL_LM", **settings}))
    with torch.no_grad():
        for parameter in live.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    live.save_pretrained(folder)
    return live.eval()


def says(one: Any) -> torch.Tensor:
    with torch.no_grad():
        return one(TOKENS % one.config.vocab_size).logits


def alike(one: torch.Tensor, other: torch.Tensor, share: float = 1e-5) -> bool:
    return bool((one - other).abs().max() <= share * other.abs().max())


@pytest.mark.parametrize("kind", TRAINED)
@pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers", "ignore:Model has .tie_word_embeddings")
@pytest.mark.filterwarnings("ignore:Adapter .* have invalid shape")  # a bias of LoRA has one dimension
def test_what_peft_has_trained_is_what_the_model_becomes(
    kind: str, bases: Path, library: Library, tmp_path: Path
) -> None:
    base, settings = TRAINED[kind]
    live = trained(bases / base, tmp_path / "lora", **settings)
    recipe = f"merge_method: passthrough\nmodels: [{{model: 'local:bases/{base}+local:made/lora'}}]\ndtype: float32\n"
    make_checkpoint(Order(recipe, tmp_path / "work", tmp_path / "out"), library, Quiet())
    wanted, before = says(live), says(model(bases / base))
    assert not alike(before, wanted, 1e-2), "the adapter changes next to nothing"
    assert alike(says(model(tmp_path / "out")), wanted)


def loaded(base: Path, adapter: Path) -> Any:
    """The adapter on its base, after a look whether every tensor in the file has found its place."""
    live = PeftModel.from_pretrained(model(base), adapter).eval()
    assert set(get_peft_model_state_dict(live)) == set(read_tensors(adapter))
    return live


@pytest.mark.parametrize(
    ("method", "theirs"), [("cat", "cat"), ("svd", "svd"), ("task_arithmetic", "cat"), ("factor_linear", "linear")]
)
def test_peft_loads_merged_adapters_and_they_do_what_its_own_do(
    method: str, theirs: str, bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT's ``add_weighted_adapter`` on two live adapters, beside the file that is made here."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("one", "two")):
        trained(bases / "llama", tmp_path / name, seed, target_modules=SOME, lora_alpha=8 + 4 * seed)
    live = PeftModel.from_pretrained(model(bases / "llama"), tmp_path / "one", adapter_name="one")
    live.load_adapter(tmp_path / "two", adapter_name="two")
    rank = {"svd_rank": 8} if theirs == "svd" else {}
    live.add_weighted_adapter(["one", "two"], [1.0, 0.5], "both", combination_type=theirs, **rank)
    live.set_adapter("both")
    assert main(["merge-adapters", "one", "two", "out", "--method", method, "--weights", "1,0.5"]) == OK
    assert alike(says(loaded(bases / "llama", tmp_path / "out")), says(live.eval()))


@pytest.mark.parametrize("method", ["cat", "svd", "task_arithmetic"])
def test_adapters_on_all_experts_at_once_are_merged(
    method: str, bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second leaves the layers alone that the first has beside its experts, and has another rank. The oracle: what
    PEFT makes of the base with each of them alone, added up."""
    monkeypatch.chdir(tmp_path)
    fused = TRAINED["fused-experts"][1]["target_parameters"]
    base = bases / "qwen3-moe"
    trained(base, tmp_path / "one", 1, target_modules=["q_proj"], target_parameters=fused, r=2)
    trained(base, tmp_path / "two", 2, target_modules=[], target_parameters=fused, r=3, lora_alpha=9)
    assert main(["merge-adapters", "one", "two", "out", "--method", method, "--weights", "1,-0.5"]) == OK
    own, first, second, made = (
        (model(base) if name is None else loaded(base, tmp_path / name).merge_and_unload()).state_dict()
        for name in (None, "one", "two", "out")
    )
    moved = 0.0
    for name, values in own.items():
        wanted = values + (first[name] - values) - 0.5 * (second[name] - values)
        moved = max(moved, float((wanted - values).abs().max()))
        torch.testing.assert_close(made[name], wanted, rtol=0, atol=1e-6)
    assert moved > 0.01


@pytest.mark.parametrize("kind", ["llama", "qwen2", "tied"])
def test_peft_loads_what_was_extracted_and_the_fine_tune_is_back(
    kind: str, bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny(tmp_path / "tuned", seed=2, base=bases / kind)
    assert main(["extract-lora", "tuned", str(bases / kind), "out", "--rank", "32"]) == OK
    assert alike(says(loaded(bases / kind, tmp_path / "out")), says(model(tmp_path / "tuned")))
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["peft_type"] == "LORA"
