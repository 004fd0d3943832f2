"""New tokens described by shared ones, in one of the donor's matrices."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from app.planning.plan import Alignment
from app.recipe.counted import counted
from app.transplant.costs import steps
from app.transplant.matching import Match
from app.transplant.matrices import DONOR
from app.transplant.wanted import WantedTransplant
from worker.engine.crew import default_threads
from worker.engine.dtypes import Array, decode
from worker.engine.sources import Source
from worker.steps.align import KEPT, Combined, Matrix
from worker.steps.watch import Watch
from worker.transplant.anchors import BATCH, Anchors, Run
from worker.transplant.neighbours import surround
from worker.transplant.pursuit import Depth, pursue
from worker.transplant.shared_rows import gather, sound

_TICK = 0.1
T = TypeVar("T")


class Search:
    """What is found is kept batch by batch in the folder of the unfinished result, so that a stopped search goes on
    where it was. Blocks of rows are the same whatever the number of threads, and so is what is found."""

    def __init__(
        self, wanted: WantedTransplant, match: Match, one: Alignment, work: Path, watch: Watch, threads: int | None
    ) -> None:
        self._matrix = one.sources[DONOR]
        self._wanted, self._watch, self._threads = wanted, watch, threads
        self._most = min(wanted.k, len(match.shared))
        self._shared, self._own = match.shared, np.asarray(match.own, np.int64)
        self._fresh = [number for number in match.fresh if number < self._matrix.tensor.shape[0]]
        self._kept = work / f"{KEPT}{one.tensor.file}"
        self._record = np.dtype([("number", "<i4", (self._most,)), ("weight", "<f8", (self._most,))])

    def read(self, opened: Sequence[Source], check: Callable[[], None]) -> None:
        """Search in the matrix that is ``opened``. Raises Refused, OSError, or what ``check`` raises."""
        text = f"Describing {counted(len(self._fresh), 'new token')} by {len(self._shared):,} that both have."
        self._watch.enter("transplanting", text, tensors=len(self._fresh), size=len(self._fresh))
        done = self._found_before()
        if done:
            told = "1 of them was" if done == 1 else f"{done:,} of them were"
            self._watch.log(f"{told} described by an earlier attempt.")
        if done == len(self._fresh):
            return
        matrix, label = Matrix(opened[0], self._matrix), opened[0].label
        rows = self._kept.with_name(f"{self._kept.name}.shared")
        try:
            anchors = gather(matrix, self._shared, rows, label, check)
            threads = self._threads or default_threads()
            with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads, "transplanting") as pool:
                self._search(matrix, label, anchors, done, _in_threads(pool, check))
        finally:
            rows.unlink(missing_ok=True)

    def combined(self) -> Combined:
        """By the result's row the model's rows and how much of each, for every token that anything was found for."""
        found = np.fromfile(self._kept, self._record)
        rows = self._own[np.asarray(self._shared, np.int64)[found["number"]]]
        return {
            number: (own[weights != 0], weights[weights != 0])
            for number, own, weights in zip(self._fresh, rows, found["weight"], strict=True)
            if weights.any()
        }

    def _found_before(self) -> int:
        """Tokens that an earlier attempt is done with: whole batches."""
        try:
            size = self._kept.stat().st_size
        except FileNotFoundError:
            return 0
        done = min(size // self._record.itemsize, len(self._fresh))
        done = done if done == len(self._fresh) else done - done % BATCH
        os.truncate(self._kept, done * self._record.itemsize)
        return done

    def _search(self, matrix: Matrix, label: str, anchors: Anchors, done: int, run: Run) -> None:
        fresh = np.asarray(self._fresh, np.int64)
        with self._kept.open("ab") as file:
            for start in range(done, len(fresh), BATCH):
                raw = matrix.read(fresh[start : start + BATCH])
                targets = sound(decode(raw, matrix.dtype), label).astype(np.float32, copy=False)
                found = np.zeros(len(targets), self._record)
                found["number"], found["weight"] = self._describe(targets, anchors, run)
                file.write(found.tobytes())
                file.flush()
                end = start + len(targets)
                self._watch.progress(end, tensors=end, tensor=f"token {end:,} of {len(fresh):,}")

    def _describe(self, targets: Array, anchors: Anchors, run: Run) -> tuple[Array, Array]:
        if self._wanted.approach == "omp":
            return pursue(targets, anchors, Depth(self._most, steps(self._most)), run)
        return surround(targets, anchors, self._most, run)


def _in_threads(pool: ThreadPoolExecutor, check: Callable[[], None]) -> Run:
    """``check`` is called often, by the calling thread; what it raises ends the work."""

    def run(work: Callable[[int], T], numbers: Sequence[int]) -> list[T]:
        futures = [pool.submit(work, number) for number in numbers]
        waiting = set(futures)
        try:
            while waiting:
                waiting = wait(waiting, timeout=_TICK).not_done
                check()
            return [one.result() for one in futures]
        finally:
            for one in futures:
                one.cancel()

    return run
