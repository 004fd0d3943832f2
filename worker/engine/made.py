"""Tensors that another document of the recipe makes: merged while they are read, and never anywhere as a whole.

What a method must know of the whole tensor (norms, thresholds, masks) is found out once, before the first read. Then
any piece can be made at any time, and has the same bits however the tensor is cut into pieces.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from app.planning.mixture import Mixture
from app.planning.plan import MadeTensor
from app.recipe.findings import refuse
from worker.engine.backend import Backend
from worker.engine.crew import Bench, Crew
from worker.engine.dtypes import BLOCK, ITEMSIZE
from worker.engine.output import OutputFile
from worker.engine.sources import Source
from worker.engine.work import Work


class Benches:
    """Buffers for tensors made inside others: a bench for each thread and each level, none of which gets in the way of
    another."""

    def __init__(self, make: Callable[[], Bench]) -> None:
        self._make = make
        self._local = threading.local()

    def at(self, level: int) -> Bench:
        """The calling thread's bench of ``level``, 0 being the lowest."""
        benches = self._local.__dict__.setdefault("benches", [])
        while len(benches) <= level:
            benches.append(self._make())
        return benches[level]


@dataclass(slots=True)
class _Piecewise(Work):
    """A tensor in the making whose last pass is not run but kept, to be run for single pieces."""

    make: Callable[[Any], None] | None = None
    unit: int = BLOCK

    def write(self, make: Callable[[Any], None], unit: int = BLOCK) -> None:
        self.make, self.unit = make, max(1, unit)


class MadeSource(Source):
    """``inputs`` are those of the step that makes it, base first. ``prepare`` comes before the first read."""

    __slots__ = ("_benches", "_inputs", "_tensor", "_work", "level")

    def __init__(self, tensor: MadeTensor, inputs: tuple[Source, ...]) -> None:
        self.name, self.dtype, self.elements = tensor.name, tensor.stored, tensor.elements
        self.itemsize = ITEMSIZE[self.dtype]
        self._tensor, self._inputs = tensor, inputs
        self._work: _Piecewise | None = None
        self.level: int = 1 + max((one.level for one in inputs if isinstance(one, MadeSource)), default=-1)

    @property
    def label(self) -> str:
        """The document's name."""
        return self._tensor.file

    def prepare(
        self, method: Callable[[str], Callable[[Work], None]], backend: Backend, crew: Crew, bench: Bench,
        benches: Benches,
    ) -> None:  # fmt: skip
        """Find out what the method must know of the whole tensor. ``bench`` is the calling thread's for tensors that
        are written. Raises what the method raises."""
        step = self._tensor.made_by
        for one in self._inputs:
            if isinstance(one, MadeSource):
                one.prepare(method, backend, crew, bench, benches)
        self._benches = benches
        nowhere = cast("OutputFile", None)
        self._work = _Piecewise(step, self._inputs, self._tensor.seed, nowhere, 0, backend, crew, bench, _count_nothing)
        method(step.method)(self._prepared())

    def read(self, into: memoryview, start: int) -> None:
        """Fills ``into`` with elements from index ``start`` on. Raises Refused(not-finite)."""
        work = self._prepared()
        unit = work.unit
        end = start + len(into) // self.itemsize
        size = max(1, work.backend.chunk // unit) * unit
        bench = self._benches.at(self.level)
        for begin in range(start // unit * unit, end, size):
            work.crew.check()
            count = min(size, -(-end // unit) * unit - begin, self.elements - begin)
            chunk = work.backend.fill(bench, self._inputs, begin, count, self.dtype)
            assert work.make is not None  # noqa: S101  methods leave it out for tensors without elements only
            work.make(chunk)
            if chunk.unsound:
                self._refuse(bench)
            made = work.backend.result(chunk)
            first, last = max(start, begin), min(end, begin + count)
            into[(first - start) * self.itemsize : (last - start) * self.itemsize] = made[
                (first - begin) * self.itemsize : (last - begin) * self.itemsize
            ]

    def mixtures(self) -> Iterator[Mixture]:
        """What it was made of, once all of it was read."""
        for one in mixtures(self._prepared()):
            yield one if one.document else replace(one, document=self._tensor.file)

    def release(self) -> None:
        self._work = None  # with its masks, which may be as large as the tensor
        for one in self._inputs:
            one.release()

    def _prepared(self) -> _Piecewise:
        assert self._work is not None  # noqa: S101  Run.make_tensor prepares before and releases after
        return self._work

    def _refuse(self, bench: Bench) -> None:
        self._prepared().refuse_parents(bench)
        raise refuse(
            "not-finite", self.name, f"Values of {self.name} come out of {self.label} as NaN, infinite or too large for"
            f" {self.dtype}, though all parents are finite.", "Use smaller weights in that document.",
        )  # fmt: skip


def mixtures(work: Work) -> Iterator[Mixture]:
    """Of a tensor that is complete, and of those that were made on the way to it."""
    for source in work.sources:
        if isinstance(source, MadeSource):
            yield from source.mixtures()
    if work.mixture is not None:
        yield work.mixture()


def _count_nothing(_: int) -> None:
    """Nothing is written."""
