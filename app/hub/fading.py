"""A small cache whose entries fade after a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fading(Generic[T]):
    """Keeps the ``most`` recently used answers, each for ``seconds``. Failures are not kept. Usable from threads."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer kept for ``key``, else a new one. Two threads may both make it."""
        with self._lock:
            if key in self._kept and self._kept[key][0] > time.monotonic():
                self._kept.move_to_end(key)
                return self._kept[key][1]
        value = make()
        with self._lock:
            self._kept[key] = (time.monotonic() + self._seconds, value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value
