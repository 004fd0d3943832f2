"""Files that take minutes begin first: begun last, one of them would hold up the end alone. And one thread each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Test processes share the cores. Threads of NumPy and torch that wait for each other spin, and cost more than twice
the time; the engine has its own threads and lets those libraries use one each."""

TESTS = Path(__file__).parent
LONG = ("real", "worker", "test_compose_commands.py", "web", "benchmarks")
"""Those with real models, real processes and waiting in them; the first takes longest."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.path.relative_to(TESTS).parts[0]))


def _place(folder: str) -> int:
    return LONG.index(folder) if folder in LONG else len(LONG)
