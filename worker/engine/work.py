"""One output tensor in the making: passes over its inputs, chunk by chunk, and the writing of the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any, TypeVar

import numpy as np

from app.planning.facts import DTYPE_BYTES
from app.planning.mixture import Mixture
from app.planning.plan import Step
from app.recipe.findings import Finding, Refused, refuse
from worker.engine.crew import Bench, Crew
from worker.engine.dtypes import BLOCK, ITEMSIZE, RESULT_UNSOUND, SEGMENT, count_non_finite
from worker.engine.output import OutputFile
from worker.engine.sources import Source

S = TypeVar("S")

NAN_ADVICE = (
    "Use another version of this parent, or leave it out: numbers that are not finite would spread into the result."
)


@dataclass(slots=True)
class Work:
    """``backend`` does the arithmetic, ``sources`` are the inputs (base first), the result goes to ``offset``.

    ``wrote`` is told the bytes of each piece written. ``bench`` belongs to the thread that makes this tensor. Methods
    that find their factors in the weights leave in ``mixture`` how to tell them once the tensor is made.
    """

    step: Step
    sources: tuple[Source, ...]
    seed: int
    output: OutputFile
    offset: int
    backend: Any
    crew: Crew
    bench: Bench
    wrote: Callable[[int], None]
    bad_results: list[int] = field(default_factory=list)
    mixture: Callable[[], Mixture] | None = None

    @property
    def elements(self) -> int:
        return prod(self.step.shape)

    @property
    def nbytes(self) -> int:
        """Size of the result in bytes."""
        return self.elements * DTYPE_BYTES[self.step.dtype]

    def sweep(self, begin: Callable[[], S], look: Callable[[Any, S], None], unit: int = BLOCK) -> list[S]:
        """One pass: ``look(chunk, state)`` sees every chunk in order, with a fresh ``begin()`` for each segment.

        Returns the segments' states in order. ``unit``: chunks and segments hold whole units of so many elements.
        """
        return self._pass(begin, look, unit, write=False)

    def write(self, make: Callable[[Any], None], unit: int = BLOCK) -> None:
        """The last pass: ``make(chunk)`` leaves each chunk's result in it, which is written."""
        self._pass(lambda: None, lambda chunk, _: make(chunk), unit, write=True)
        if self.bad_results:
            raise refuse(
                "not-finite",
                self.step.name,
                f"{sum(self.bad_results)} values of {self.step.name} come out as NaN, infinite or too large for"
                f" {self.step.dtype}, though all parents are finite.",
                "Use smaller weights, or a dtype with a wider range (bfloat16 or float32) for the result.",
            )

    def peek(self, start: int, count: int) -> Any:
        """A chunk read outside a pass, in this tensor's own thread."""
        return self.backend.fill(self.bench, self.sources, start, count, self.step.dtype)

    def _pass(self, begin: Callable[[], S], look: Callable[[Any, S], None], unit: int, write: bool) -> list[S]:
        unit = max(1, unit)
        segment = max(1, SEGMENT // unit) * unit
        size = min(max(1, self.backend.chunk // unit) * unit, segment)
        total = self.elements

        def run(index: int, bench: Bench) -> S:
            state, made = begin(), list[memoryview]()
            end = min(total, (index + 1) * segment)
            for start in range(index * segment, end, size):
                self.crew.check()
                count = min(size, end - start)
                chunk = self.backend.fill(bench, self.sources, start, count, self.step.dtype)
                look(chunk, state)
                if chunk.unsound:
                    self.refuse_parents(bench)
                    self._count_bad_results(chunk)
                if write:
                    made.append(self.backend.result(chunk))
                    if len(made) >= bench.kept or start + count == end:
                        self._put(made, start + count)
            return state

        return self.crew.share(ceil(total / segment), run, self.bench)

    def _put(self, made: list[memoryview], end: int) -> None:
        """Writes the results of neighbouring chunks up to the element ``end``; leaves ``made`` empty.

        Together, because a system takes one large write with far less work than several small ones.
        """
        size = sum(map(len, made))
        self.output.write(made, self.offset + end * ITEMSIZE[self.step.dtype] - size)
        self.wrote(size)
        made.clear()

    def refuse_parents(self, bench: Bench) -> None:
        """Raises Refused(not-finite) naming each input that holds NaN or infinite values, and how many."""
        counts = [(source, source.count_non_finite(bench.scratch)) for source in self.sources]
        findings = [_parent_finding(self.step, source, count) for source, count in counts if count]
        if findings:
            raise Refused(findings)

    def _count_bad_results(self, chunk: Any) -> None:
        if chunk.unsound & RESULT_UNSOUND:
            result = np.frombuffer(self.backend.result(chunk), np.uint8)
            self.bad_results.append(count_non_finite(result, self.step.dtype))


def _parent_finding(step: Step, source: Source, count: int) -> Finding:
    where = source.name if source.name == step.name else f"{source.name} (for {step.name})"
    return Finding(
        "error", "not-finite", where, f"{count} values of {source.name} in {source.label} are NaN or infinite.",
        NAN_ADVICE,
    )  # fmt: skip
