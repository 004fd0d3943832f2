"""The commands that make adapters, called as the command line calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.storage.local import read_manifest
from tests.support.adapters import factors, product, write_adapter
from tests.support.checkpoints import read_tensors, write_weights
from tests.support.tiny_models import make_tiny
from worker.cli import OK, REFUSED, main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two adapters in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for seed, name in enumerate(("one", "two")):
        write_adapter(tmp_path / name, factors("a.q", 12, 20, 3, seed), r=3, lora_alpha=3, target_modules=["q"])
    return tmp_path


def bare(folder: Path) -> dict[str, np.ndarray]:
    return {name.removeprefix("base_model.model."): one for name, one in read_tensors(folder).items()}


def test_two_adapters_are_merged(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge-adapters", "one", "two", "out", "--method", "cat", "--weights", "1,-0.5"]) == OK
    wanted = product(bare(home / "one"), "a.q") - 0.5 * product(bare(home / "two"), "a.q")
    np.testing.assert_allclose(product(bare(home / "out"), "a.q"), wanted, atol=1e-7)
    assert "out: 1 module of rank 6" in capsys.readouterr().out
    manifest = read_manifest(home / "out")
    assert manifest is not None and manifest.about["weights"] == [1.0, -0.5]
    assert {one.name for one in manifest.files} == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert "| two | a local folder | -0.5 | not known |" in (home / "out" / "README.md").read_text()
    assert not (home / "out.unfinished").exists()


def test_what_a_lower_rank_loses_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge-adapters", "one", "two", "out", "--rank", "2"]) == OK
    assert "% is kept in a.q" in capsys.readouterr().out


def test_the_report_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge-adapters", "one", "two", "out", "--method", "ties", "--json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert told["ranks"] == {"a.q": 6} and told["findings"] == [] and told["method"] == "ties"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["one", "two", "out", "--weights", "1"], "wrong-number-of-weights"),
        (["one", "nobody", "out"], "model-not-found"),
        (["one", "cache", "out"], "no-adapter"),
        (["one", "two", "one"], "not-empty"),
        (["one", "two", "out", "--method", "cat", "--rank", "3"], "rank-not-free"),
    ],
)
def test_what_cannot_be_done_is_refused(home: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: str):
    (home / "cache").mkdir()
    assert main(["merge-adapters", *words, "--json"]) == REFUSED
    assert [one["code"] for one in json.loads(capsys.readouterr().out)["findings"]] == [code]
    assert not (home / "out").exists() and not (home / "out.unfinished").exists()


def test_an_adapter_is_extracted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_tiny(home / "base", seed=1, layers=1)
    make_tiny(home / "tuned", seed=2, base=base)
    assert main(["extract-lora", "tuned", "base", "out", "--rank", "4", "--dtype", "bfloat16"]) == OK
    told = capsys.readouterr().out
    assert "out: LoRA on 7 modules, 5 saved whole" in told and "least" in told
    assert "of rank 4 at most" in (home / "out" / "README.md").read_text()
    assert (home / "out" / "adapter_model.safetensors").stat().st_size < 100_000
    assert main(["extract-lora", "tuned", "base", "again", "--rank", "2", "--max-error", "0.01", "--json"]) == OK
    report = json.loads(capsys.readouterr().out)
    assert set(report["ranks"].values()) == {2} and [one["code"] for one in report["findings"]] == ["error-too-large"]


def test_an_adapter_with_more_tokens_brings_the_tokenizer(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Put on the base again, the result has the fine-tune's rows and its tokenizer."""
    base, tuned = make_tiny(home / "base", seed=1, layers=1), make_tiny(home / "tuned", seed=1, layers=1, vocab=336)
    assert main(["extract-lora", "tuned", "base", "out", "--rank", "2"]) == OK
    assert "resize_token_embeddings(336)" in capsys.readouterr().err
    assert (home / "out" / "tokenizer.json").read_bytes() == (tuned / "tokenizer.json").read_bytes()
    (home / "recipe.yml").write_text("merge_method: passthrough\nmodels: [{model: base+out}]\n")
    assert main(["merge", "recipe.yml", "again"]) == OK
    rows = read_tensors(home / "again")["model.embed_tokens.weight"]
    np.testing.assert_array_equal(rows, read_tensors(tuned)["model.embed_tokens.weight"])
    assert (home / "again" / "tokenizer.json").read_bytes() != (base / "tokenizer.json").read_bytes()
    assert json.loads((home / "again" / "config.json").read_text())["vocab_size"] == 336


def test_a_fine_tune_may_call_its_tensors_otherwise(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Modules are called as in the base, which the adapter is put on."""
    base = make_tiny(home / "base", seed=1, layers=1)
    tuned = make_tiny(home / "tuned", seed=2, base=base)
    assert main(["extract-lora", "tuned", "base", "out", "--rank", "4"]) == OK
    write_weights(tuned, {f"_orig_mod.{name}": one for name, one in read_tensors(tuned).items()}, "bfloat16")
    assert main(["extract-lora", "tuned", "base", "again", "--rank", "4"]) == OK
    one, other = (read_tensors(home / name) for name in ("out", "again"))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def test_a_model_with_an_adapter_gives_it_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tiny(home / "base", seed=1, layers=1)
    q = "model.layers.0.self_attn.q_proj"
    write_adapter(home / "lora", factors(q, 32, 32, 2), r=2)
    assert main(["extract-lora", "base+lora", "base", "out", "--rank", "8", "--max-error", "0.001"]) == OK
    assert json.loads((home / "out" / "adapter_config.json").read_text())["r"] == 2
    assert main(["extract-lora", "one", "base", "other", "--rank", "8"]) == REFUSED
    assert "is an adapter, which needs the model it was made for" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--density", "0"], ["--rank", "0"], ["--weights", "a"], ["--method", "magic"]])
def test_wrong_words_are_usage_errors(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["merge-adapters", "one", "two", "out", *words])
    assert left.value.code == 2
