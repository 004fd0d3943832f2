"""How far apart models are: measured once for each pair, beside the request that asks, and remembered."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field

from app.comparing.distance import Probe, numbers, probes, relative_distance
from app.library.headers import ModelFiles, Piece
from app.library.local import LocalFiles
from app.library.remote import HubFiles
from app.planning.facts import ModelFacts, TensorFacts
from app.recipe.findings import Refused

AT_ONCE = 2
LONGEST = 60.0
"""Seconds after which nobody is told to ask again, since the source is too slow; and after a failure until the next
try."""
MOST = 512
"""Pairs that are remembered."""


@dataclass(frozen=True, slots=True)
class Known:
    """A model's headers, and where its rows can be read."""

    facts: ModelFacts
    source: ModelFiles


@dataclass
class _Asked:
    """One measurement. ``since`` and ``failed`` are times of the monotonic clock."""

    future: Future[float | None]
    since: float = field(default_factory=time.monotonic)
    failed: float | None = None


class Distances:
    """A dozen Range reads of some kilobytes for a pair of models on the Hub. Usable from many threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Asked] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="distance")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def between(self, one: Known, other: Known, patience: float) -> tuple[float | None, bool]:
        """‖one − other‖ / ‖other‖, and whether that is settled. None where it cannot be told, or not within
        ``patience`` seconds: then it is being measured, and known the next time."""
        key = (_identity(one.source), _identity(other.source))
        now = time.monotonic()
        with self._lock:
            asked = self._known.get(key)
            if asked is None or (asked.failed is not None and now - asked.failed > LONGEST):
                asked = self._known[key] = _Asked(self._pool.submit(_measure, one, other))
            self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        try:
            return asked.future.result(timeout=patience), True
        except NotYet:
            return None, time.monotonic() - asked.since > LONGEST
        except Refused:
            asked.failed = asked.failed or now  # the network may be back later
            return None, True


def _identity(source: ModelFiles) -> Hashable:
    """What the weights are: a commit, or a folder as it is now."""
    if isinstance(source, LocalFiles):
        return str(source.folder), source.fingerprint
    return (source.info.id, source.info.commit) if isinstance(source, HubFiles) else id(source)


def _measure(one: Known, other: Known) -> float | None:
    chosen = probes(one.facts, other.facts)
    if not chosen:
        return None
    left = _rows(one.source, [(probe, probe.one) for probe in chosen])
    right = _rows(other.source, [(probe, probe.other) for probe in chosen])
    if [*map(len, left)] != [*map(len, right)]:
        return None  # a file was cut meanwhile
    return relative_distance(zip(left, right, strict=True))


def _rows(source: ModelFiles, wanted: list[tuple[Probe, TensorFacts]]) -> list[list[float]]:
    """The rows of each probe, end to end."""
    pieces = [[Piece(tensor.file, *place) for place in probe.bytes_of(tensor)] for probe, tensor in wanted]
    read = iter(source.read([piece for each in pieces for piece in each]))
    raw = [b"".join(next(read) for _ in each) for each in pieces]
    return [list(numbers(one, tensor.dtype)) for one, (_, tensor) in zip(raw, wanted, strict=True)]
