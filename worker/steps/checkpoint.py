"""A merge from recipe to published checkpoint: the steps in their order, for the worker and the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.library.facts import Library
from app.planning.card import model_card
from app.planning.estimate import Estimate
from app.planning.plan import Plan
from app.planning.rates import GUESSED, Rates, roughly
from app.preflight import Preflight
from app.recipe.findings import Finding
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef
from app.storage.base import Manifest
from app.storage.local import read_manifest
from worker.engine.backends import check_device
from worker.engine.sources import Place
from worker.steps.align import aligned
from worker.steps.branches import remember_branches
from worker.steps.card import Card, write_texts
from worker.steps.check import check, make_room
from worker.steps.merge import merge
from worker.steps.publish import publish
from worker.steps.supply import NOT_HASHED, supply
from worker.steps.verify import verify
from worker.steps.watch import Watch


@dataclass(frozen=True)
class Order:
    """What is wanted. ``work`` and ``final``: the folder in the making and the finished one, on one filesystem.

    ``pin``: settle on the parents' commits first and work from the pinned recipe. Without it (folders of this machine
    that a pinned recipe cannot name) the recipe is taken as it stands. ``stream``: weights on the Hub are read in parts
    and not stored. ``asked``: the recipe as it was handed in, when ``recipe`` is a pinned one. ``rates``: what was
    measured of merges here.
    """

    recipe: str
    work: Path
    final: Path
    title: str = ""
    seed: int | None = None
    token: str | None = None
    device: str = "cpu"
    threads: int | None = None
    epoch: int = 1
    pin: bool = True
    stream: bool = False
    asked: str = ""
    rates: Rates = GUESSED


@dataclass(frozen=True)
class Checked:
    """What will be made, and what is known of it. ``asked``: the parents as they were handed in, with branches."""

    plan: Plan
    estimate: Estimate | None
    findings: tuple[Finding, ...]
    asked: tuple[ModelRef, ...] = ()


Prepare = Callable[
    [Plan, Sequence[Path | Place], Path, Watch, int | None],
    AbstractContextManager[tuple[Plan, tuple[Path | Place, ...]]],
]
"""What comes between the parents' arrival and their merge: plan, places, folder of the unfinished result, watch and
threads in; plan and places for the engine out."""


def make_checkpoint(order: Order, library: Library, watch: Watch) -> Manifest:
    """Do all of it. Raises Refused, OSError, or what ``watch`` raises; ``order.work`` then holds what is finished."""
    there = read_manifest(order.final)
    if there is not None:
        return there
    watch.enter("checking", "Checking the recipe against its parents.")
    check_device(order.device)
    looked = _look(order, library)
    asked = read_recipe(order.asked or order.recipe).recipe
    parents = asked.parents() if asked is not None else ()
    return make_planned(Checked(_plan(looked), looked.estimate, looked.findings, parents), order, library, watch)


def make_planned(
    checked: Checked, order: Order, library: Library, watch: Watch, *, prepare: Prepare = aligned,
    card: Card = model_card, found: Callable[[], Mapping[str, Any]] = dict,
) -> Manifest:  # fmt: skip
    """What comes after the checks. ``found``: what was found out on the way, for the manifest. Raises likewise."""
    plan = checked.plan
    watch.planned(plan, checked.estimate.peak_memory_bytes if checked.estimate else 0)
    if checked.estimate is not None:
        watch.log(f"Expected to take {roughly(checked.estimate.seconds)}: {checked.estimate.basis}.")
    streamed = order.stream and any(parent.commit for parent in plan.parents)
    _tell((*checked.findings, *([NOT_HASHED] if streamed else [])), watch)
    order.work.mkdir(parents=True, exist_ok=True)
    cache = library.hub.cache.root if library.hub else order.work
    make_room(plan, order.work, cache, _size(order.work), watch, stream=streamed)
    with supply(plan, library, watch, order.work, token=order.token, stream=streamed) as parents:
        with prepare(plan, parents.places, order.work, parents.watch, order.threads) as (laid_out, places):
            written = merge(
                laid_out, places, order.work, parents.watch,
                device=order.device, threads=order.threads, epoch=order.epoch,
            )  # fmt: skip
        folders = parents.folders()
        if not streamed:
            remember_branches(checked.asked, plan, library)
        mixtures = [mixture for one in written for mixture in one.mixtures]
        texts = write_texts(plan, folders, order.work, watch, title=order.title, mixtures=mixtures, card=card)
    verify(plan, order.work, watch)
    watch.enter("finalising", "Publishing the result.")
    watch.check()
    return publish(order.work, order.final, [*written, *texts], {**about(plan), **found()})


def _tell(findings: Sequence[Finding], watch: Watch) -> None:
    for finding in findings:
        watch.log(finding.text if finding.level == "info" else str(finding))
        for change in finding.changes:
            watch.log(f"config.json: {change}")


def _look(order: Order, library: Library) -> Preflight:
    looked = check(order.recipe, library, seed=order.seed, token=order.token, rates=order.rates)
    pinned = _plan(looked).recipe_text
    if not order.pin or pinned == order.recipe:
        return looked
    return check(pinned, library, seed=order.seed, token=order.token, rates=order.rates)


def _plan(looked: Preflight) -> Plan:
    assert looked.plan is not None  # noqa: S101  check() has refused otherwise
    return looked.plan


def about(plan: Plan) -> dict[str, Any]:
    """How the result was made, for its manifest. The same for every run of the same plan."""
    return {
        "format": 1,
        "made_by": "weightloom",
        "recipe": plan.recipe_text,
        "seed": plan.seed,
        "parameters": plan.parameters,
        "parents": [{"ref": parent.ref, "commit": parent.commit} for parent in plan.parents],
        "config_changes": [asdict(change) for finding in plan.findings for change in finding.changes],
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
