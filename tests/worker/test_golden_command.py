"""Every golden recipe through the command ``weightloom merge``, against what mergekit 0.1.5 made of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.engine.by_hand import GOLDEN
from tests.support.checkpoints import read_dtypes, read_tensors
from worker.cli import main

CASES = sorted(path.name for path in (GOLDEN / "cases").iterdir())
AGREEMENT = 2e-6
"""Of each tensor's largest value."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipes name their models by folders below the one that the command is called in."""
    monkeypatch.chdir(GOLDEN)
    monkeypatch.setenv("WEIGHTLOOM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_the_command_gives_the_golden_merge(case: str, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, golden = home / "out", GOLDEN / "cases" / case
    assert main(["merge", str(golden / "recipe.yml"), str(out), "--threads", "2", "--json"]) == 0, capfd.readouterr()
    told = json.loads(capfd.readouterr().out)
    assert {one["name"] for one in told["files"]} == {path.name for path in out.iterdir()} - {"MANIFEST.json"}
    mine, expected = read_tensors(out), read_tensors(golden)
    assert mine.keys() == expected.keys()
    assert set(read_dtypes(out).values()) == {"float32"}
    for name, values in expected.items():
        np.testing.assert_allclose(mine[name], values, rtol=0, atol=AGREEMENT * np.abs(values).max(), err_msg=name)
    config, wanted = (json.loads((folder / "config.json").read_text()) for folder in (out, golden))
    for key in ("architectures", "num_hidden_layers", "vocab_size", "hidden_size", "dtype"):
        assert config[key] == wanted[key], key


def test_all_of_them_are_there() -> None:
    assert len(CASES) == 26
