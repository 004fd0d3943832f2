"""A library of one folder, ``local:d/...``, which is the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.library.facts import Library
from app.library.local import LocalRoots


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library(None, LocalRoots({"d": tmp_path}))
    yield library
    library.close()
