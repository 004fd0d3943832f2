"""For tests of single steps: models of a folder, plans of the two tiny ones, and merges without a job."""

from __future__ import annotations

from pathlib import Path

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.plan import Plan
from app.preflight import preflight
from tests.support.quiet import Quiet
from tests.worker.rig import RECIPE
from worker.steps.checkpoint import Order, make_checkpoint


def local(models: Path) -> Library:
    return Library(None, LocalRoots({"models": models}))


def plan_of(library: Library, recipe: str = RECIPE, seed: int | None = None) -> Plan:
    looked = preflight(recipe, library, seed=seed)
    assert looked.plan is not None, looked.findings
    return looked.plan


def merged(recipe: str, library: Library, folder: Path) -> Plan:
    """The plan of a merge that was made into ``folder / "out"``."""
    watch = Quiet()
    make_checkpoint(Order(recipe, folder / "work", folder / "out"), library, watch)
    return watch.plan
