"""A small cache whose entries fade after a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fading(Generic[T]):
    """Keeps the recently used answers, each for ``seconds``, whose sizes by ``size`` add up to ``most``; without it, so
    many of them. The newest is kept whatever its size, failures are not. Usable from threads."""

    def __init__(self, seconds: float, most: int, size: Callable[[T], int] = lambda _: 1) -> None:
        self._seconds, self._most, self._size = seconds, most, size
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer kept for ``key``, else a new one. Two threads may both make it."""
        with self._lock:
            if key in self._kept and self._kept[key][0] > time.monotonic():
                self._kept.move_to_end(key)
                return self._kept[key][1]
        value = make()
        with self._lock:
            if key in self._kept:
                self._held -= self._size(self._kept.pop(key)[1])
            self._kept[key] = (time.monotonic() + self._seconds, value)
            self._held += self._size(value)
            while self._held > self._most and len(self._kept) > 1:
                self._held -= self._size(self._kept.popitem(last=False)[1][1])
        return value
