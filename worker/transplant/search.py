"""New tokens described by shared ones, in one of the donor's matrices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from app.planning.plan import Alignment
from app.recipe.counted import counted
from app.transplant.costs import steps
from app.transplant.matching import Match
from app.transplant.matrices import DONOR
from app.transplant.rebuilt import Rebuilt
from app.transplant.wanted import WantedTransplant
from worker.engine.crew import default_threads
from worker.engine.dtypes import Array, decode
from worker.engine.sources import Source
from worker.steps.align import KEPT, NOTHING, Combined, Matrix
from worker.steps.watch import Watch
from worker.transplant.anchors import BATCH, Anchors, Run
from worker.transplant.neighbours import surround
from worker.transplant.pursuit import Depth, pursue
from worker.transplant.rebuilding import Among, Made, compare, held_out
from worker.transplant.shared_rows import gather, sound

_TICK = 0.1
T = TypeVar("T")


class Search:
    """What is found is kept batch by batch in the folder of the unfinished result, so that a stopped search goes on
    where it was. Blocks of rows are the same whatever the number of threads, and so is what is found. ``rebuilt``: how
    well shared tokens came back in the model's matrix that was read last; None where there are too few."""

    def __init__(
        self, wanted: WantedTransplant, match: Match, one: Alignment, work: Path, watch: Watch, threads: int | None
    ) -> None:
        self._wanted, self._watch, self._threads = wanted, watch, threads
        self._most = min(wanted.k, len(match.shared))
        self._shared = np.asarray(match.shared, np.int64)
        self._rows = np.asarray(match.own, np.int64)[self._shared]
        self._fresh = [number for number in match.fresh if number < one.sources[DONOR].tensor.shape[0]]
        self._held = held_out(len(match.shared))
        self._kept = work / f"{KEPT}{one.tensor.file}"
        self._kept_held = self._kept.with_name(f"{self._kept.name}.held")
        self._record = np.dtype([("number", "<i4", (self._most,)), ("weight", "<f8", (self._most,))])
        self._begun = False
        self.rebuilt: Rebuilt | None = None

    def read(self, one: Alignment, opened: Sequence[Source], check: Callable[[], None]) -> None:
        """``opened``: the model's matrix and the donor's. Shared tokens are made anew first; where that shows that the
        result would fall back on the mean, there is no search. Raises Refused, OSError, or what ``check`` raises."""
        own, donor = (Matrix(source, matrix) for source, matrix in zip(opened, one.inputs, strict=True))
        label, name = opened[1].label, one.tensor.name
        done = self._begin()
        with ExitStack() as stack:

            @cache
            def shared() -> tuple[Anchors, Run]:
                return stack.enter_context(self._gathered(donor, label, check))

            if not self._is_held():
                self._rebuild(*shared())
            self.rebuilt = compare(self._made_anew(), own, name, check)
            falls_back = self.rebuilt is not None and self.rebuilt.falls_back(self._wanted)
            if done < len(self._fresh) and not falls_back:
                self._search(donor, label, done, *shared())

    def combined(self) -> Combined:
        """By the result's row the model's rows and how much of each, for every token that anything was found for."""
        if not self._fresh:
            return NOTHING
        found = np.fromfile(self._kept, self._record)
        parts = self._parts(found, self._rows)
        return {number: part for number, part in zip(self._fresh, parts, strict=True) if len(part[0])}

    def _made_anew(self) -> Iterator[Made]:
        """The same of the tokens held out."""
        others = np.delete(self._rows, self._held)
        found = np.fromfile(self._kept_held, self._record)
        for row, (rows, weights) in zip(self._rows[self._held], self._parts(found, others), strict=True):
            yield row, rows, weights

    def _parts(self, found: Array, rows: Array) -> Iterator[tuple[Array, Array]]:
        for own, weights in zip(rows[found["number"]], found["weight"], strict=True):
            yield own[weights != 0], weights[weights != 0]

    def _begin(self) -> int:
        """Tokens that are described already."""
        done = self._found_before()
        if not self._begun:
            text = f"Describing {counted(len(self._fresh), 'new token')} by {len(self._shared):,} that both have."
            self._watch.enter("transplanting", text, tensors=len(self._fresh), size=len(self._fresh))
            if done:
                told = "1 of them was" if done == 1 else f"{done:,} of them were"
                self._watch.log(f"{told} described by an earlier attempt.")
        self._begun = True
        return done

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

    @contextmanager
    def _gathered(self, donor: Matrix, label: str, check: Callable[[], None]) -> Iterator[tuple[Anchors, Run]]:
        """The donor's rows of shared tokens, and threads to look at them with."""
        rows = self._kept.with_name(f"{self._kept.name}.shared")
        try:
            anchors = gather(donor, self._shared.tolist(), rows, label, check)
            threads = self._threads or default_threads()
            with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads, "transplanting") as pool:
                yield anchors, _in_threads(pool, check)
        finally:
            rows.unlink(missing_ok=True)

    def _is_held(self) -> bool:
        return self._kept_held.exists() and self._kept_held.stat().st_size == len(self._held) * self._record.itemsize

    def _rebuild(self, anchors: Anchors, run: Run) -> None:
        """Describe the tokens held out by the other shared ones."""
        others = Among(anchors, np.delete(np.arange(len(self._shared)), self._held))
        found = self._described(anchors.rows(self._held), others, run) if len(self._held) else np.zeros(0, self._record)
        self._kept_held.write_bytes(found.tobytes())

    def _search(self, donor: Matrix, label: str, done: int, anchors: Anchors, run: Run) -> None:
        fresh = np.asarray(self._fresh, np.int64)
        with self._kept.open("ab") as file:
            for start in range(done, len(fresh), BATCH):
                raw = donor.read(fresh[start : start + BATCH])
                targets = sound(decode(raw, donor.dtype), label).astype(np.float32, copy=False)
                file.write(self._described(targets, anchors, run).tobytes())
                file.flush()
                end = start + len(targets)
                self._watch.progress(end, tensors=end, tensor=f"token {end:,} of {len(fresh):,}")

    def _described(self, targets: Array, anchors: Anchors, run: Run) -> Array:
        """One record for each of ``targets`` fp32 [targets, width]."""
        most = min(self._most, len(anchors.lengths))
        if self._wanted.pursued:
            by = pursue(targets, anchors, Depth(most, steps(most)), run)
        else:
            by = surround(targets, anchors, most, run)
        found = np.zeros(len(targets), self._record)
        found["number"][:, :most], found["weight"][:, :most] = by
        return found


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
