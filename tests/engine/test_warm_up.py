"""Warming up leaves nothing to compile for the first merge."""

from __future__ import annotations

import pytest

from worker.engine.kernels import combine, rows, select, sparse
from worker.engine.warm_up import warm_up


@pytest.mark.parametrize("module", [combine, rows, select, sparse], ids=lambda module: module.__name__)
def test_every_kernel_that_is_called_is_compiled_afterwards(module: object) -> None:
    warm_up()
    own = {name: each for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__}
    entered = {name: each for name, each in own.items() if hasattr(each, "signatures") and not name.startswith("_")}
    assert entered
    assert [name for name, each in entered.items() if not each.signatures] == []
