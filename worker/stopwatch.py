"""How long a merge takes, so that the next one's time can be told beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.planning.estimate import FIXED_SECONDS, merging_seconds
from app.planning.plan import Plan
from app.planning.rates import Took

DOWNLOADING = "downloading"


class Stopwatch:
    """Runs from when it is made. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: list[tuple[str, float, int]] = [("", clock(), 0)]
        self._planned: tuple[str, float] | None = None

    def planned(self, plan: Plan) -> None:
        self._planned = plan.recipe.merge_method, merging_seconds(plan)

    def enter(self, stage: str, size: int = 0) -> None:
        """``size``: bytes the stage has to do."""
        self._stages.append((stage, self._clock(), size))

    def took(self) -> Took | None:
        """Of a merge that has just been finished, in one go; None for something else. While files are fetched weights
        are merged already, so such a merge tells nothing of the pace of merging."""
        if self._planned is None:
            return None
        now, (method, expected) = self._clock(), self._planned
        ends = [begin for _, begin, _ in self._stages[1:]] + [now]
        fetched = [
            (size, end - begin)
            for (stage, begin, size), end in zip(self._stages, ends, strict=True)
            if stage == DOWNLOADING
        ]
        if not fetched:
            return Took(method, expected, FIXED_SECONDS, seconds=now - self._stages[0][1])
        size, seconds = fetched[0]
        return Took(method, expected, FIXED_SECONDS, fetched=size, fetching=seconds)
