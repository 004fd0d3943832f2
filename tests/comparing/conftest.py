"""A tiny base and three fine-tunes of it as ``local:models/...``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.library.facts import Library
from tests.support.tiny_models import make_tiny
from tests.worker.quiet import local

NAMES = ("one", "two", "three")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Named by their letters; ``base`` is the base, ``stranger`` unrelated to all, ``deep`` has more layers."""
    folder = tmp_path_factory.mktemp("compared")
    base = make_tiny(folder / "base", seed=1, layers=3, shards=2)
    for seed, (name, scale) in enumerate(zip(NAMES, (0.02, 0.05, 0.02), strict=True), start=2):
        make_tiny(folder / name, seed=seed, base=base, scale=scale)
    make_tiny(folder / "stranger", seed=9, layers=3, dtype="float32")
    make_tiny(folder / "deep", seed=10, layers=5)
    return folder


@pytest.fixture
def library(models: Path) -> Iterator[Library]:
    library = local(models)
    yield library
    library.close()
