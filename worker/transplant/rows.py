"""Before the weights of a transplant: the model's matrices with a row for each of the donor's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from app.planning.facts import TensorFacts
from app.planning.plan import Alignment, Plan
from app.pretransplant import Pretransplant
from app.transplant.matrices import DONOR, MODEL
from worker.engine.reading import reading
from worker.engine.sources import Place
from worker.steps.align import NOTHING, Combined, aligned
from worker.steps.watch import Watch
from worker.transplant.pieces import cut
from worker.transplant.search import Search


@dataclass(frozen=True)
class NewRows:
    """Makes the rows of one transplant. What was found for a donor's matrix serves all of the model's like it."""

    looked: Pretransplant
    found: dict[TensorFacts, Combined] = field(default_factory=dict)

    @contextmanager
    def prepared(
        self, plan: Plan, places: Sequence[Path | Place], work: Path, watch: Watch, threads: int | None = None
    ) -> Iterator[tuple[Plan, tuple[Path | Place, ...]]]:
        """The plan and places that the engine takes. Raises Refused, OSError, or what ``watch`` raises."""
        combine = partial(self._combined, work=work, watch=watch, threads=threads)
        with aligned(plan, places, work, watch, threads, combine=combine) as laid_out:
            yield laid_out

    def _combined(
        self, one: Alignment, plan: Plan, places: tuple[Path | Place, ...], *, work: Path, watch: Watch,
        threads: int | None,
    ) -> Combined:  # fmt: skip
        wanted, match = self.looked.wanted, self.looked.match
        if wanted.approach == "subword":
            rows = one.tensor.origin.tensor.shape[0]
            return cut(self.looked.tokenizer, match.fresh, rows, plan.parents[MODEL].ref)
        source = one.sources.get(DONOR)
        if source is None or not match.fresh:
            return NOTHING
        if source.tensor not in self.found:
            search = Search(self.looked.wanted, match, one, work, watch, threads)
            reading(plan, places, [source], search.read, check=watch.check, threads=threads)
            self.found[source.tensor] = search.combined()
        return self.found[source.tensor]
