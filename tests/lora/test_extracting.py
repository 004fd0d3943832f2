"""Adapters extracted from fine-tunes: put on the base again, they give the fine-tune."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.adapter_config import read_settings
from app.preadapt import models_of
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef
from tests.support.adapters import factors, product, write_adapter
from tests.support.checkpoints import read_tensors, write_json, write_weights
from tests.support.quiet import Quiet
from tests.support.tiny_models import make_tiny
from worker.lora.extracting import Extracted, Wish, extract
from worker.lora.low_rank import factor
from worker.lora.making import opened
from worker.steps.checkpoint import Order, make_checkpoint

PREFIX = "base_model.model."


@pytest.fixture
def library(tmp_path: Path):
    library = Library(None, LocalRoots({"d": tmp_path}))
    yield library
    library.close()


def extracted(library: Library, tuned: str, base: str, folder: Path, **wish: Any) -> Extracted:
    """The adapter, written to ``folder/made``."""
    names = f"local:d/{tuned}".replace("+", "+local:d/"), f"local:d/{base}"
    models = models_of(tuple(parse_reference(name) for name in names), library)
    with opened(models, [library.folder(one) for one in models.with_adapters]) as sources:
        made = extract(*models.facts, sources, Wish(**wish), lambda done, name: None)
    (folder / "made").mkdir()
    for name, content in made.files.items():
        (folder / "made" / name).write_bytes(content)
    return made


def on_base(library: Library, base: str, folder: Path) -> dict[str, np.ndarray]:
    """The base with ``folder/made`` on it, in fp32."""
    text = f"merge_method: passthrough\nmodels: [{{model: local:d/{base}+local:d/made}}]\ndtype: float32\n"
    make_checkpoint(Order(text, folder / "work", folder / "result"), library, Quiet())
    return read_tensors(folder / "result")


def close(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray], share: float = 1e-6) -> None:
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values, rtol=0, atol=share * np.abs(values).max(), err_msg=name)


def settings(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "made" / "adapter_config.json").read_text())


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_with_full_rank_nothing_is_lost(kind: Any, library: Library, tmp_path: Path):
    """Norms, embeddings and head are saved whole; Qwen2 has biases beside its LoRA layers too."""
    base = make_tiny(tmp_path / "base", seed=1, layers=2, kind=kind)
    make_tiny(tmp_path / "tuned", seed=2, base=base)
    made = extracted(library, "tuned", "base", tmp_path, rank=32)
    assert min(made.kept.values()) > 1 - 1e-6 and not made.findings
    assert {"model.embed_tokens", "lm_head", "model.norm"} <= set(made.saved)
    close(on_base(library, "base", tmp_path), read_tensors(tmp_path / "tuned"))
    told = settings(tmp_path)
    assert told["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert told["bias"] == ("lora_only" if kind == "qwen2" else "none")
    assert "model.norm" in told["modules_to_save"] and told["task_type"] == "CAUSAL_LM"


def test_embedding_and_head_that_are_one_matrix_stay_one(library: Library, tmp_path: Path):
    base = make_tiny(tmp_path / "base", seed=1, layers=1, kind="qwen2", tied=True)
    make_tiny(tmp_path / "tuned", seed=2, base=base)
    extracted(library, "tuned", "base", tmp_path, rank=32)
    assert settings(tmp_path)["ensure_weight_tying"] is True
    close(on_base(library, "base", tmp_path), read_tensors(tmp_path / "tuned"))
    assert json.loads((tmp_path / "result" / "config.json").read_text())["tie_word_embeddings"] is True


def test_an_adapter_comes_back(library: Library, tmp_path: Path):
    """From base+adapter, with the adapter's rank: the same change, and nothing else."""
    make_tiny(tmp_path / "base", seed=1, layers=2, dtype="float32")
    q, down = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"
    tensors = factors(q, 32, 32, 3) | factors(down, 32, 96, 3)
    write_adapter(tmp_path / "lora", tensors, r=3, lora_alpha=6)
    made = extracted(library, "base+lora", "base", tmp_path, rank=3)
    assert dict(made.ranks) == {q: 3, down: 3} and made.saved == ()
    got = {name.removeprefix(PREFIX): one for name, one in read_tensors(tmp_path / "made").items()}
    for module in (q, down):
        wanted = 2 * product(tensors, module)
        np.testing.assert_allclose(product(got, module), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert settings(tmp_path)["target_modules"] == [q, down]


def test_the_same_again_and_other_formats(library: Library, tmp_path: Path):
    base = make_tiny(tmp_path / "base", seed=1, layers=1)
    make_tiny(tmp_path / "tuned", seed=2, base=base)
    first = extracted(library, "tuned", "base", tmp_path, rank=4, dtype="bfloat16")
    (tmp_path / "again").mkdir()
    assert extracted(library, "tuned", "base", tmp_path / "again", rank=4, dtype="bfloat16").files == first.files
    facts = library.adapter(ModelRef("local:d/made"))
    assert set(facts.dtypes) == {"BF16"} and read_settings(facts).rank == 4


def test_linear_layers_stored_the_other_way_round(library: Library, tmp_path: Path):
    rng = np.random.default_rng(1)
    shapes = {"wte.weight": (40, 8), "ln_f.weight": (8,)}
    for layer in range(2):
        at = f"h.{layer}"
        shapes |= {f"{at}.attn.c_attn.weight": (8, 24), f"{at}.attn.c_attn.bias": (24,), f"{at}.ln_1.weight": (8,)}
        shapes |= {f"{at}.attn.c_proj.weight": (8, 8), f"{at}.mlp.c_fc.weight": (8, 32)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    changed = {name: one + 0.1 * rng.normal(size=one.shape).astype(np.float32) for name, one in weights.items()}
    for name, tensors in (("base", weights), ("tuned", changed)):
        (tmp_path / name).mkdir()
        write_weights(tmp_path / name, tensors, "float32")
        write_json(tmp_path / name / "config.json", {"model_type": "gpt2", "n_layer": 2, "tie_word_embeddings": True})
    extracted(library, "tuned", "base", tmp_path, rank=8)
    assert settings(tmp_path)["fan_in_fan_out"] is True
    up = read_tensors(tmp_path / "made")[f"{PREFIX}h.0.attn.c_attn.lora_B.weight"]
    assert up.shape == (24, 8)
    close(on_base(library, "base", tmp_path), changed)


def test_a_low_rank_keeps_what_it_says(library: Library, tmp_path: Path):
    base = make_tiny(tmp_path / "base", seed=1, layers=1, dtype="float32")
    make_tiny(tmp_path / "tuned", seed=2, base=base)
    made = extracted(library, "tuned", "base", tmp_path, rank=5)
    before, after, got = read_tensors(base), read_tensors(tmp_path / "tuned"), on_base(library, "base", tmp_path)
    for module, kept in made.kept.items():
        name = f"{module}.weight"
        change = after[name].astype(np.float64) - before[name]
        values = np.linalg.svd(change, compute_uv=False)
        best = (values[:5] ** 2).sum() / (values**2).sum()
        assert 0.98 * best < kept <= best + 1e-6
        missing = np.linalg.norm(after[name] - got[name].astype(np.float64)) / np.linalg.norm(change)
        assert missing == pytest.approx(np.sqrt(1 - kept), rel=1e-3)


def test_more_error_less_rank(library: Library, tmp_path: Path):
    base = make_tiny(tmp_path / "base", seed=1, layers=1)
    make_tiny(tmp_path / "tuned", seed=2, base=base)
    made = extracted(library, "tuned", "base", tmp_path, rank=32, max_error=0.5)
    assert all(1 < rank < 32 for rank in made.ranks.values()) and not made.findings
    assert min(made.kept.values()) >= 0.75
    (tmp_path / "few").mkdir()
    few = extracted(library, "tuned", "base", tmp_path / "few", rank=2, max_error=0.5)
    assert [one.code for one in few.findings] == ["error-too-large"]


def refused(library: Library, names: Sequence[str], folder: Path) -> str:
    with pytest.raises(Refused) as caught:
        extracted(library, *names, folder, rank=4)
    return caught.value.findings[0].code


def test_what_is_no_fine_tune_is_refused(library: Library, tmp_path: Path):
    base = make_tiny(tmp_path / "base", seed=1, layers=1)
    make_tiny(tmp_path / "same", seed=1, layers=1)
    make_tiny(tmp_path / "wide", seed=1, layers=1, hidden=48)
    make_tiny(tmp_path / "deep", seed=1, layers=4)
    broken = read_tensors(base)
    broken["model.norm.weight"][0] = np.nan
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text((base / "config.json").read_text())
    write_weights(tmp_path / "broken", broken, "float32")
    assert refused(library, ("same", "base"), tmp_path) == "no-change"
    assert refused(library, ("wide", "base"), tmp_path) == "shape-mismatch"
    assert refused(library, ("deep", "base"), tmp_path) == "different-architecture"
    assert refused(library, ("broken", "base"), tmp_path) == "not-finite"


def test_layers_that_the_base_lacks_are_refused(library: Library, tmp_path: Path):
    """PEFT passes over what a model has not: such an adapter would load without a word and be wrong."""
    base = make_tiny(tmp_path / "base", seed=1, layers=4)
    make_tiny(tmp_path / "deeper", seed=1, layers=5)
    with pytest.raises(Refused, match="deeper has 5 layers, local:d/base has 4"):
        extracted(library, "deeper", "base", tmp_path, rank=4)
    assert refused(library, ("base", "deeper"), tmp_path) == "layer-count-differs"
    assert base.is_dir()


def test_the_head_of_a_tied_fine_tune_is_its_embedding(library: Library, tmp_path: Path):
    """The base has a matrix for its head, the fine-tune uses its embedding: so does the model with the adapter."""
    base = make_tiny(tmp_path / "base", seed=1, layers=1)
    tuned = make_tiny(tmp_path / "tuned", seed=2, base=base)
    tensors = {name: one for name, one in read_tensors(tuned).items() if name != "lm_head.weight"}
    write_weights(tuned, tensors, "bfloat16")
    write_json(tuned / "config.json", json.loads((tuned / "config.json").read_text()) | {"tie_word_embeddings": True})
    made = extracted(library, "tuned", "base", tmp_path, rank=32)
    assert "lm_head" in made.saved and not made.findings
    assert settings(tmp_path)["ensure_weight_tying"] is False
    close(on_base(library, "base", tmp_path), tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]})


def test_what_an_adapter_cannot_hold_is_told(library: Library, tmp_path: Path):
    base = make_tiny(tmp_path / "base", seed=1, layers=1)
    make_tiny(tmp_path / "tuned", seed=2, base=base)
    for name, more in (("tuned", "model.layers.0.mlp.scale"), ("base", "model.layers.0.gone.weight")):
        tensors = read_tensors(tmp_path / name) | {more: np.ones((2, 3, 4), np.float32)}
        write_weights(tmp_path / name, tensors, "bfloat16")
    made = extracted(library, "tuned", "base", tmp_path, rank=4)
    assert [one.code for one in made.findings] == ["not-in-an-adapter", "left-out"]


def test_factors_of_a_matrix():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(300, 6)), rng.normal(size=(6, 200))
    matrix = (left @ right).astype(np.float32)
    found = factor(matrix, 6, key="a")
    assert found is not None and found.rank == 6 and found.error < 1e-3
    np.testing.assert_allclose(found.up @ found.down, matrix, atol=1e-4 * np.abs(matrix).max())
    lengths = np.linalg.norm(found.up, axis=0), np.linalg.norm(found.down, axis=1)
    np.testing.assert_allclose(*lengths, rtol=1e-4)
    assert factor(np.zeros((3, 4), np.float32), 2) is None


def test_the_projection_is_nearly_the_best():
    """Against the exact decomposition, on a spectrum that falls slowly."""
    rng = np.random.default_rng(2)
    u, v = (np.linalg.qr(rng.normal(size=(size, 150)))[0] for size in (400, 250))
    values = 1.0 / np.arange(1, 151)
    matrix = ((u * values) @ v.T).astype(np.float32)
    best = np.sqrt((values[8:] ** 2).sum() / (values**2).sum())
    found = factor(matrix, 8, key="a")
    assert found is not None
    again = factor(matrix, 8, key="a")
    assert again is not None and found.up.tobytes() == again.up.tobytes()
    assert best * 0.999 <= found.error <= best * 1.01
    assert np.linalg.norm(matrix - found.up @ found.down) <= best * 1.01 * np.linalg.norm(matrix)
    enough = factor(matrix, 60, max_error=0.3, key="a")
    needed = int(np.argmax(np.sqrt(1 - np.cumsum(values**2) / (values**2).sum()) <= 0.3)) + 1
    assert enough is not None and enough.rank == needed
