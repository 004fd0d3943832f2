"""What this web process remembers of jobs between two messages: their looms and how fast they went.

Both can be made again at any time: the loom from the recipe and its models' headers, the rates from Redis.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import RedisError
from redis.asyncio import Redis

from app.jobs.events import KEPT, stream
from app.jobs.models import Job
from app.library.facts import Library
from app.planning.mixture import COEFFICIENTS_FILE, LARGEST, NOTHING_FOUND, Mixtures, read_coefficients, tells
from app.planning.shares import loom
from app.planning.woven import Apart
from app.preflight import preflight
from app.recipe.findings import Refused
from app.recipe.form import view
from app.storage.base import Artifacts
from app.web.pages.loom_rows import cell_order, found_words, letters_of, told_picture
from app.web.pages.pictures.loom import LoomPicture

_MOST_JOBS = 64
_MOST_RATES = 600
_GAP = 1.0
"""Seconds between two rates that are kept."""


@dataclass(frozen=True)
class JobLoom:
    """A job's loom, and for each tensor in the order of writing the cell it belongs to. ``tells``: once the
    merge is finished, its coefficients are known. Then ``whole`` has those of the whole model, in words, and ``apart``
    is how far apart the parents are."""

    picture: LoomPicture
    order: tuple[tuple[str, str], ...]
    tells: bool = False
    whole: str = ""
    apart: Apart | None = None

    def cover(self, tensors_done: int) -> str:
        """The path over the cells that still miss a tensor."""
        return self.picture.cover(dict.fromkeys(self.order[tensors_done:]))


class JobMemory:
    """Bounded, for many threads. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._looms: OrderedDict[str, JobLoom | None] = OrderedDict()
        self._rates: OrderedDict[str, deque[float]] = OrderedDict()
        self._last: dict[str, float] = {}

    def loom(self, job: Job, library: Library, artifacts: Artifacts) -> JobLoom | None:
        """The loom of a merge; None when its models' headers cannot be read any more. May take seconds once, and once
        more when the merge is done and what it found in the weights is known."""
        key = _key(job)
        with self._lock:
            if key in self._looms:
                return self._looms[key]
        made = _make_loom(job, library, _found(job, artifacts))
        if made is not None:
            with self._lock:
                self._looms[key] = made
                _forget_oldest(self._looms)
        return made

    def known_loom(self, job: Job) -> JobLoom | None:
        """The loom if it was made before."""
        with self._lock:
            return self._looms.get(_key(job))

    def rates(self, job_id: str) -> tuple[float, ...]:
        """Bytes a second, oldest first."""
        with self._lock:
            return tuple(self._rates.get(job_id, ()))

    def add_rate(self, job_id: str, rate: float | None) -> None:
        """Remember how fast it goes; at most one a second."""
        now = self._clock()
        with self._lock:
            if rate is None or now - self._last.get(job_id, float("-inf")) < _GAP:
                return
            self._rates.setdefault(job_id, deque(maxlen=_MOST_RATES)).append(rate)
            self._last[job_id] = now
            while len(self._rates) > _MOST_JOBS:
                old, _ = self._rates.popitem(last=False)
                self._last.pop(old, None)

    def seed_rates(self, job_id: str, rates: Sequence[float]) -> None:
        """Take over what Redis still knows, unless this process knows more."""
        with self._lock:
            if rates and len(self._rates.get(job_id, ())) < len(rates):
                self._rates[job_id] = deque(rates, maxlen=_MOST_RATES)


async def rates_in_redis(redis: Redis, job_id: str) -> list[float]:
    """The rates that were told of late, oldest first, about one a second; empty when Redis does not answer."""
    try:
        entries: Any = await redis.xrange(stream(job_id), count=KEPT)
    except (RedisError, OSError):
        return []
    rates: list[float] = []
    last = float("-inf")
    for entry_id, fields in entries:
        at = int(str(entry_id).partition("-")[0]) / 1000
        rate = _rate(fields) if at - last >= _GAP else None
        if rate is not None:
            rates.append(rate)
            last = at
    return rates


def _rate(fields: Mapping[str, str]) -> float | None:
    if fields.get("kind") != "progress":
        return None
    rate = json.loads(fields["data"]).get("rate")
    return float(rate) if isinstance(rate, (int, float)) else None


def _key(job: Job) -> str:
    return f"{job.id}:{job.pinned is not None}:{job.state == 'succeeded'}"


def _found(job: Job, artifacts: Artifacts) -> Mixtures:
    """What a finished merge keeps of its tensors."""
    manifest = artifacts.manifest(job.id) if job.state == "succeeded" else None
    if manifest is None or manifest.file(COEFFICIENTS_FILE) is None:
        return NOTHING_FOUND
    try:
        with artifacts.open(job.id, COEFFICIENTS_FILE) as file:
            return read_coefficients(file.read(LARGEST))
    except (Refused, OSError):
        return NOTHING_FOUND


def _make_loom(job: Job, library: Library, found: Mixtures) -> JobLoom | None:
    seen = preflight(job.pinned or job.recipe, library, seed=job.seed)
    if seen.plan is None or seen.recipe is None:
        return None
    letters = letters_of(seen.plan, view(seen.recipe))
    told = loom(seen.plan, found)
    order = tuple(cell_order(seen.plan))
    whole = found_words(told.whole, letters, turned=False) if told.whole else ""
    return JobLoom(told_picture(told, letters), order, tells(seen.plan.steps()), whole, told.apart)


def _forget_oldest(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > _MOST_JOBS:
        kept.popitem(last=False)
