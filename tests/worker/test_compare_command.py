"""``weightloom compare`` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.support.tiny_models import make_tiny
from worker.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = make_tiny(tmp_path / "base", seed=1)
    make_tiny(tmp_path / "one", seed=2, base=base)
    make_tiny(tmp_path / "two", seed=3, base=base, scale=0.1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIGHTLOOM_DATA", str(tmp_path / "data"))
    return tmp_path


def test_numbers_and_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "one", "./two", "--base", "base"]) == 0
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert lines[:3] == ["A     one", "B     ./two", "base  base"]
    header = next(line.split() for line in lines if line.split()[:1] == ["all"])
    assert header == ["all", "q", "k", "v", "o", "gate", "up", "down", "norm"]
    assert any(line.startswith("Opposite signs") and " A-B " in line for line in lines)
    assert "B's change is 5.0 times as large as A's" in told
    assert "diagnostics, not a score" in lines[-1]


def test_json_and_csv(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "one", "two", "--base", "base", "--full", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["mode"], told["models"]) == ("full", {"A": "one", "B": "two"})
    assert told["overall"]["delta_norm"]["B"] == pytest.approx(5 * told["overall"]["delta_norm"]["A"], rel=0.05)
    assert main(["compare", "one", "two", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["of"] for row in rows} == {"A-B"}
    assert all(0 < float(row["cosine_weights"]) <= 1 for row in rows)


def test_what_cannot_be_compared(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "one"]) == 1
    assert "needs two models" in capsys.readouterr().err
    assert main(["compare", "one", "gone/away", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"]
    with pytest.raises(SystemExit) as usage:
        main(["compare", "one", "two", "--json", "--csv"])
    assert usage.value.code == 2
