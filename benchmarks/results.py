"""What was measured: single runs, kept in a JSON file, and their medians and ratios."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.checkpoints import SIZES
from benchmarks.measure import Measured
from benchmarks.recipes import RECIPES

OURS, THEIRS, ENGINE, COPY = "weightloom", "mergekit", "engine", "cp"


@dataclass(frozen=True)
class Run:
    """One run of ``tool`` on the recipe ``method`` at ``size``. ``discarded``: stolen runs before it, measured again.
    ``day``: when, as YYYY-MM-DD."""

    size: str
    method: str
    tool: str
    measured: Measured
    discarded: int = 0
    day: str = ""

    @property
    def subject(self) -> tuple[str, str]:
        return self.size, self.method


@dataclass(frozen=True)
class Middle:
    """Medians over ``runs`` runs: seconds, bytes. ``disturbed``: the median share of the machine's processor time that
    the hypervisor and other processes took meanwhile; ``stolen``: some run was stolen, its repeats too."""

    wall: float
    cpu: float
    peak_bytes: float
    disturbed: float
    runs: int
    stolen: bool


def middle(runs: Iterable[Run], cores: int) -> Middle | None:
    """None without runs."""
    all_runs = [run.measured for run in runs]
    if not all_runs:
        return None
    return Middle(
        wall=median(one.wall for one in all_runs),
        cpu=median(one.cpu for one in all_runs),
        peak_bytes=median(one.peak_bytes for one in all_runs),
        disturbed=median((one.steal + one.others) / (one.wall * cores) for one in all_runs),
        runs=len(all_runs),
        stolen=any(one.stolen for one in all_runs),
    )


def ratio(theirs: float | None, ours: float | None) -> float | None:
    """How many times less ``ours`` is; None where one is missing."""
    return theirs / ours if theirs is not None and ours else None


@dataclass(frozen=True)
class Line:
    """One recipe at one size: the medians of each tool that ran."""

    size: str
    method: str
    ours: Middle | None
    theirs: Middle | None
    engine: Middle | None
    copy: Middle | None

    @property
    def wall_ratio(self) -> float | None:
        return self._ratio(lambda middle: middle.wall)

    @property
    def cpu_ratio(self) -> float | None:
        return self._ratio(lambda middle: middle.cpu)

    @property
    def memory_ratio(self) -> float | None:
        return self._ratio(lambda middle: middle.peak_bytes)

    @property
    def copies(self) -> float | None:
        """The engine's time in copies of its output."""
        return ratio(self.engine.wall if self.engine else None, self.copy.wall if self.copy else None)

    def _ratio(self, cost: Callable[[Middle], float]) -> float | None:
        return ratio(cost(self.theirs) if self.theirs else None, cost(self.ours) if self.ours else None)


def lines(runs: Sequence[Run], cores: int) -> list[Line]:
    """From the smallest models to the largest, and in the recipes' order."""
    sizes, methods = list(SIZES), list(RECIPES)
    subjects = {run.subject for run in runs}
    made = []
    for size, method in sorted(subjects, key=lambda one: (sizes.index(one[0]), methods.index(one[1]))):
        own = [run for run in runs if run.subject == (size, method)]
        of = {tool: middle((run for run in own if run.tool == tool), cores) for tool in (OURS, THEIRS, ENGINE, COPY)}
        made.append(Line(size, method, of[OURS], of[THEIRS], of[ENGINE], of[COPY]))
    return made


@dataclass(frozen=True)
class Results:
    """``machine``: what is worth knowing of the computer and the versions, by name."""

    machine: dict[str, Any]
    runs: tuple[Run, ...]

    def replaced(self, new: Sequence[Run]) -> Results:
        """With ``new`` instead of what was known of the same recipe and size and tool."""
        again = {(run.subject, run.tool) for run in new}
        return Results(self.machine, (*(run for run in self.runs if (run.subject, run.tool) not in again), *new))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"machine": self.machine, "runs": [asdict(run) for run in self.runs]}, indent=1))


def read(path: Path) -> Results:
    """Empty when there is no such file."""
    if not path.exists():
        return Results({}, ())
    told = json.loads(path.read_text())
    runs = (Run(**{**run, "measured": Measured(**run["measured"])}) for run in told["runs"])
    return Results(told["machine"], tuple(runs))
