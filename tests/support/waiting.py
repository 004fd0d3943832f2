"""How tests wait: for what happens, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 30.0
"""Seconds. More than anything bounded takes where a process gets a tenth of a core, and less than the waits without
end, or of minutes, that it is told apart from."""


def until(happens: Callable[[], Any], seconds: float = 90.0, what: Callable[[], str] = lambda: "") -> Any:
    """What ``happens`` gives once that is true. Fails after ``seconds``, saying ``what``."""
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)
    return found
