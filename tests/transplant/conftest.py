from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny_models import make_tiny
from tests.transplant.donors import make_donor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a byte-level model whose head is its own, and a donor in SentencePiece's manner."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    make_tiny(tmp_path / "model", seed=1, vocab=380)
    make_donor(tmp_path / "donor", seed=2)
    return tmp_path
