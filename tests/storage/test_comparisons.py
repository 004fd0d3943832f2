"""Comparisons on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.comparing.comparison import Comparison
from app.comparing.sums import TensorSums
from app.storage.comparisons import Comparisons

ONE = Comparison(
    ("a/b", "a/c"), None, False, 0.2,
    (TensorSums("lm_head.weight", None, "head", (2, 3), 6, 6, (4.0, 9.0), (6.0,), (1.0,)),),
)  # fmt: skip


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    kept = Comparisons(tmp_path / "comparisons")
    assert kept.get("1") is None
    kept.put("1", ONE)
    kept.put("1", replace(ONE, top=0.1))
    assert kept.get("1") == replace(ONE, top=0.1)
    assert [path.name for path in (tmp_path / "comparisons").iterdir()] == ["1.json"]
    kept.delete("1")
    kept.delete("1")
    assert kept.get("1") is None


def test_a_comparison_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Comparisons(tmp_path)
    kept.put("1", ONE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        kept.put("1", replace(ONE, top=0.1))
    assert kept.get("1") == ONE
    assert [path.name for path in tmp_path.iterdir()] == ["1.json"]
