"""How fast something goes, over the last seconds, and when it will be done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 15.0
"""Seconds looked back on: long enough to be steady, short enough to follow a change."""

SETTLED = 0.001
"""The share that has to be done before the end is foretold."""


class Pace:
    """Fed with the bytes done so far. ``rate`` is bytes a second, None until it can be told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points: deque[tuple[float, int]] = deque()

    def restart(self) -> None:
        self._points.clear()

    def at(self, done: int) -> None:
        """So many bytes are done now."""
        now = self._clock()
        if self._points and now - self._points[-1][0] < WINDOW / 60:
            return
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[0][0] > WINDOW:
            self._points.popleft()

    @property
    def rate(self) -> float | None:
        if len(self._points) < 2:
            return None
        (first, before), (last, after) = self._points[0], self._points[-1]
        return max(0.0, (after - before) / (last - first)) if last > first else None

    def seconds_left(self, done: int, total: int) -> float | None:
        """None while hardly anything is done: the first tensors are small, and what they take foretells nothing."""
        rate = self.rate
        return (total - done) / rate if rate and total and done >= SETTLED * total else None
