"""Files that take minutes begin first: begun last, one of them would hold up the end alone."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LONG = ("real", "worker", "test_compose_commands.py", "web", "benchmarks")
"""Those with real models, real processes and waiting in them; the first takes longest."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.path.relative_to(TESTS).parts[0]))


def _place(folder: str) -> int:
    return LONG.index(folder) if folder in LONG else len(LONG)
