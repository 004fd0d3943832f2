"""Before the weights of a transplant: the model's matrices with a row for each of the donor's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from app.planning.facts import TensorFacts
from app.planning.plan import Alignment, Plan
from app.pretransplant import Pretransplant
from app.transplant.matrices import DONOR, MODEL
from app.transplant.rebuilt import Rebuilt
from worker.engine.reading import reading
from worker.engine.sources import Place
from worker.steps.align import NOTHING, Combined, aligned
from worker.steps.watch import Watch
from worker.transplant.pieces import cut
from worker.transplant.search import Search


@dataclass(frozen=True)
class NewRows:
    """Makes the rows of one transplant. What was found in a donor's matrix serves all of the model's like it.
    ``rebuilt``: how well shared tokens came back, for each of the model's matrices."""

    looked: Pretransplant
    searches: dict[TensorFacts, Search] = field(default_factory=dict)
    rebuilt: list[Rebuilt] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """For the manifest: how well shared tokens came back."""
        return {"rebuilt": [one.as_dict(self.looked.wanted) for one in self.rebuilt]} if self.rebuilt else {}

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
        search = self.searches.get(source.tensor) or Search(wanted, match, one, work, watch, threads)
        self.searches[source.tensor] = search
        reading(plan, places, one.inputs, partial(search.read, one), check=watch.check, threads=threads)
        rebuilt = search.rebuilt
        if rebuilt is not None:
            self.rebuilt.append(rebuilt)
            told = rebuilt.told(wanted)
            watch.log(told.text if told.level == "info" else str(told))
        return NOTHING if rebuilt is not None and rebuilt.falls_back(wanted) else search.combined()
