"""A comparison from references to numbers, for the worker and the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from app.comparing.comparison import Comparison
from app.comparing.meeting import LeftOut, Meeting, Met
from app.comparing.sampling import counted
from app.comparing.sums import TensorSums
from app.comparing.wanted import Wanted
from app.library.facts import Library
from app.library.headers import ModelFiles
from app.precompare import precompare
from app.recipe.findings import refuse
from worker.compare.reading import Portion, read_ahead
from worker.compare.tally import Tally, effective_rank
from worker.engine.dtypes import Array
from worker.sizes import gigabytes
from worker.steps.check import MARGIN_BYTES
from worker.steps.fetch import fetch
from worker.steps.watch import Watch

AT_ONCE = 24
"""Requests to the Hub under way at once."""
MOST_LEFT_OUT = 100
"""Names of tensors that could not be compared that a result keeps."""


def compare(wanted: Wanted, library: Library, watch: Watch, *, token: str | None = None) -> Comparison:
    """Do all of it. A sample is read where it lies and stored nowhere; for everything, models on the Hub are fetched
    into the cache first. Raises Refused, OSError, or what ``watch`` raises."""
    watch.enter("checking", "Reading the models' headers.")
    looked = precompare(wanted, library, token)
    meeting = looked.meeting
    for remark in meeting.renamed:
        watch.log(remark.text)
    if meeting.full:
        _fetch(meeting, library, watch, token)
    what = "everything" if meeting.full else "a sample"
    text = f"Comparing {what}: {gigabytes(meeting.read_bytes)} of {len(meeting.tensors)} tensors."
    watch.enter("comparing", text, tensors=len(meeting.tensors), size=meeting.read_bytes)
    # The threads of BLAS spin while they wait for each other: beside a merge that slows small matrices tenfold.
    with _sources(looked.wanted, library, token) as sources, threadpool_limits(1, "blas"):
        tensors, unsound = _measure(meeting, sources, wanted.top, watch)
    if not tensors:
        raise refuse("not-finite", "", "No tensor holds only finite numbers.", "One of these models is damaged.")
    left_out = (*meeting.left_out, *unsound)
    pinned = looked.wanted
    base = None if pinned.base is None else str(pinned.base)
    return Comparison(
        tuple(map(str, pinned.models)), base, pinned.full, pinned.top, tuple(tensors), left_out[:MOST_LEFT_OUT],
        len(left_out),
    )  # fmt: skip


def _fetch(meeting: Meeting, library: Library, watch: Watch, token: str | None) -> None:
    size = meeting.download_bytes
    if size and library.hub is not None:
        root = library.hub.cache.root
        free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
        if size + MARGIN_BYTES > free:
            text = f"The disk is too full: {gigabytes(size)} are needed and {gigabytes(free)} are free."
            raise refuse("disk-full", str(root), text, "Free some space, or compare on a sample.")
    fetch(meeting, library, watch, token=token)


@contextmanager
def _sources(wanted: Wanted, library: Library, token: str | None) -> Iterator[list[ModelFiles]]:
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="rows")
    try:
        yield [library.files(ref, token, pool) for ref in wanted.everyone]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _measure(
    meeting: Meeting, sources: Sequence[ModelFiles], top: float, watch: Watch
) -> tuple[list[TensorSums], list[LeftOut]]:
    found: list[TensorSums] = []
    unsound: list[LeftOut] = []
    done = 0
    one = _Tensor(meeting, top)
    for portion, weights in read_ahead(meeting, sources, watch.check):
        one.take(portion, weights)
        done += 0 if portion.for_rank else _read_bytes(portion)
        if portion.last:
            if one.tally.sound:
                found.append(one.told(portion.met))
            else:
                unsound.append(LeftOut(portion.met.name, "holds NaN or infinite numbers"))
            one = _Tensor(meeting, top)
            watch.progress(done, tensors=len(found) + len(unsound), tensor=portion.met.name)
        else:
            watch.progress(done, tensors=len(found) + len(unsound))
    return found, unsound


class _Tensor:
    """One tensor while its portions come in."""

    def __init__(self, meeting: Meeting, top: float) -> None:
        self._meeting = meeting
        self.tally = Tally(meeting.models, meeting.with_base, top)
        self._ranks: tuple[float | None, ...] = (None,) * meeting.models if meeting.with_base else ()

    def take(self, portion: Portion, weights: Array) -> None:
        if not portion.for_rank:
            self.tally.add(weights)
        if self._meeting.with_base and (portion.for_rank or portion.both) and np.isfinite(weights).all():
            deltas = (weights[:-1] - weights[-1]).reshape(len(weights) - 1, -1, portion.met.columns)
            self._ranks = tuple(effective_rank(one) for one in deltas)

    def told(self, met: Met) -> TensorSums:
        most = min(counted(met.rank_rows), met.columns) if self._meeting.with_base else 0
        return self.tally.told(met, self._ranks, most)


def _read_bytes(portion: Portion) -> int:
    """Of all models together."""
    return counted(portion.ranges) * portion.met.read_bytes // max(1, counted(portion.met.rows) * portion.met.columns)
