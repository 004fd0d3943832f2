"""What a merge took: the whole of it, or the download alone where weights were merged while others arrived."""

from __future__ import annotations

import pytest

from app.library.facts import Library
from app.planning.estimate import FIXED_SECONDS, merging_seconds
from tests.worker.quiet import plan_of
from worker.stopwatch import Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("fetches", [False, True])
def test_stages(library: Library, fetches: bool) -> None:
    plan = plan_of(library)
    clock = Clock()
    watch = Stopwatch(clock)
    watch.enter("checking")
    clock.now += 2
    watch.planned(plan)
    for stage, size, seconds in (("downloading", 900, 30), ("merging", 10_000, 8), ("finalising", 0, 1)):
        if stage != "downloading" or fetches:
            watch.enter(stage, size)
            clock.now += seconds
    took = watch.took()
    assert took is not None
    assert (took.method, took.expected, took.fixed) == ("linear", merging_seconds(plan), FIXED_SECONDS)
    assert (took.seconds, took.fetched, took.fetching) == ((None, 900, 30) if fetches else (11, 0, 0))


def test_what_was_never_planned_is_no_merge() -> None:
    watch = Stopwatch()
    watch.enter("comparing")
    assert watch.took() is None
