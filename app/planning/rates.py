"""What a server has measured of its own speed, and what an estimate of time therefore rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from app.recipe.catalogue import METHODS

LAST = 20
"""Measurements that count, the newest."""
ENOUGH = 3
"""So many merges by one method tell more of it than all merges."""
SMALLEST_FETCH = 20_000_000
"""Bytes below which a download tells of the way to the server, not of the line."""
DOWNLOAD_RATE = 50e6
"""Bytes a second assumed when nothing was measured."""


@dataclass(frozen=True, slots=True)
class Took:
    """What one merge took: ``seconds`` from its start to the finished checkpoint, by the cost model ``expected`` of
    which ``fixed`` are the same for every merge; None when it was done in pieces or waited for files. ``fetched`` bytes
    came in ``fetching`` seconds, 0 when none did."""

    method: str
    expected: float
    fixed: float
    seconds: float | None = None
    fetched: int = 0
    fetching: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """The median of ``count`` measurements."""

    value: float
    count: int


@dataclass(frozen=True, slots=True)
class Rates:
    """``download`` in bytes a second; ``merging``: how many times as long as the cost model says a merge takes, by any
    method and ``by_method``. None where nothing was measured."""

    download: Measured | None = None
    merging: Measured | None = None
    by_method: Mapping[str, Measured] = field(default_factory=lambda: MappingProxyType({}))

    def factor(self, method: str) -> float:
        found = self.by_method.get(method, self.merging)
        return 1.0 if found is None else found.value

    @property
    def download_rate(self) -> float:
        return DOWNLOAD_RATE if self.download is None else self.download.value

    def basis(self, method: str, fetches: bool) -> str:
        """``from the last 5 merges on this server``: what a time rests on. ``fetches``: whether something is fetched
        first."""
        own = self.by_method.get(method)
        merges = own or self.merging
        title = f"{METHODS[method].title} " if own is not None else ""
        told = "a guess until this server has merged something"
        if merges is not None:
            told = f"from the last {_counted(merges.count, f'{title}merge')} on this server"
        if not fetches:
            return told
        line = f"at {self.download_rate / 1e6:.0f} MB/s" if self.download_rate >= 1e6 else "at less than 1 MB/s"
        if self.download is None:
            return f"{told}; the download {line} is a guess"
        return f"{told}; the download {line}, from the last {_counted(self.download.count, 'download')}"


GUESSED = Rates()


def roughly(seconds: float) -> str:
    """A time that is only guessed at, to two figures at most: ``about 40 s``, ``about 3 min``, ``about 2 h 30 min``."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 55:
        return f"about {round(seconds / 5) * 5} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"about {minutes if minutes < 20 else round(minutes / 5) * 5} min".replace("60 min", "1 h")
    quarters = round(seconds / 900)
    hours, rest = divmod(quarters * 15, 60)
    return f"about {hours} h{f' {rest} min' if rest and hours < 10 else ''}"


def rates(taken: Sequence[Took]) -> Rates:
    """From what merges took, the newest first."""
    fetched = [one for one in taken if one.fetched >= SMALLEST_FETCH and one.fetching > 0][:LAST]
    merged = [one for one in taken if one.seconds is not None and one.expected > 0]
    methods = {one.method for one in merged if one.method in METHODS}
    by_method = {name: [one for one in merged if one.method == name][:LAST] for name in methods}
    return Rates(
        _median((one.fetched / one.fetching, one.fetched) for one in fetched),
        _factor(merged[:LAST]),
        MappingProxyType({name: made for name, of in by_method.items() if len(of) >= ENOUGH and (made := _factor(of))}),
    )


def _factor(merged: Iterable[Took]) -> Measured | None:
    """A merge counts as much as it is large: a small one tells of the start alone."""
    pairs = [((one.seconds or 0.0) / one.expected, max(one.expected - one.fixed, 1e-9)) for one in merged]
    return _median(pairs)


def _median(pairs: Iterable[tuple[float, float]]) -> Measured | None:
    """The value in the middle of (value, weight), half of the weight on either side."""
    ordered = sorted(pairs)
    left = sum(weight for _, weight in ordered) / 2
    for value, weight in ordered:
        left -= weight
        if left <= 0:
            return Measured(value, len(ordered))
    return None


def _counted(count: int, what: str) -> str:
    """``5 merges``, ``merge`` for a single one: stands behind "the last"."""
    return what if count == 1 else f"{count} {what}s"
