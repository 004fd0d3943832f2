"""First step: is everything still as it was when the job was handed in, and is there room for it?"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from app.library.facts import Library
from app.planning.plan import Plan
from app.planning.rates import GUESSED, Rates
from app.preflight import Preflight, preflight
from app.recipe.findings import Refused, refuse
from worker.sizes import gigabytes
from worker.steps.watch import Watch

MARGIN_BYTES = 256 << 20
"""Left free on every disk, so that the database and the system can go on."""


@dataclass(frozen=True)
class Room:
    """Bytes that are missing on disk, by place: ``output`` for the result and what is laid out on the way to it,
    ``download`` for the parents."""

    output: int
    download: int


def check(text: str, library: Library, *, seed: int | None, token: str | None, rates: Rates = GUESSED) -> Preflight:
    """The recipe's plan against the parents as they are now; ``rates`` are for its estimate. Raises Refused with every
    error there is."""
    looked = preflight(text, library, seed=seed, token=token, rates=rates)
    errors = [finding for finding in looked.findings if finding.level == "error"]
    if errors:
        raise Refused(errors)
    if looked.plan is None:
        raise refuse("no-plan", "", "This recipe leads to no plan.", "Check it on the builder page.")
    return looked


SCRATCH_BYTES = 256 << 20
"""For what is read ahead of a parent that is streamed; what is being merged comes on top."""


def needed(plan: Plan, stream: bool = False) -> Room:
    """What the plan will write that is not there yet: the result, and the parents' files that must be fetched.

    ``stream``: of the weights only those of the tensors in the making are on the disk for a while.
    """
    if stream:
        return _streamed(plan)
    files = [{file.name: file for file in parent.files} for parent in plan.parents]
    wanted = (files[parent].get(name) for parent, name in plan.files_needed)
    missing = sum(file.size for file in wanted if file is not None and not file.present)
    return Room(plan.output_bytes + plan.alignment_bytes, missing)


def _streamed(plan: Plan) -> Room:
    """Scratch room for two of the largest tensors at a time, and what is taken over unchanged."""
    sizes = [sum(one.tensor.nbytes for one in step.read) for step in plan.steps()]
    sizes += [sum(one.tensor.nbytes for source in each.inputs for one in source.read) for each in plan.alignments]
    carried = {(carry.parent, carry.file) for carry in plan.carries}
    files = [(parent, file) for parent, facts in enumerate(plan.parents) for file in facts.files]
    missing = sum(file.size for parent, file in files if (parent, file.name) in carried and not file.present)
    return Room(plan.output_bytes + plan.alignment_bytes + SCRATCH_BYTES + 2 * max(sizes, default=0), missing)


def make_room(plan: Plan, out: Path, cache: Path, there: int, watch: Watch, *, stream: bool = False) -> None:
    """Reserve disk space for the result in ``out`` and see that the downloads fit into ``cache``.

    ``there``: bytes of the result that an earlier attempt has left. Raises Refused (``disk-full``) with the numbers.
    """
    need = needed(plan, stream)
    output = max(0, need.output - there)
    together = need.download if _same_disk(out, cache) else 0
    with_margin = output + together + (output + together) // 20 + MARGIN_BYTES
    free = shutil.disk_usage(_existing(out)).free
    missing = watch.reserve(with_margin, free)
    if missing > 0:
        raise _no_room(out, with_margin, free, missing)
    if need.download and not together:
        free = shutil.disk_usage(_existing(cache)).free
        if need.download + MARGIN_BYTES > free:
            raise _no_room(cache, need.download + MARGIN_BYTES, free, need.download + MARGIN_BYTES - free)


def _no_room(place: Path, need: int, free: int, missing: int) -> Refused:
    text = f"The disk is too full: {gigabytes(need)} are needed and {gigabytes(free)} are free"
    text += f", of which running jobs will take {gigabytes(missing - need + free)}." if missing > need - free else "."
    return refuse("disk-full", str(place), text, f"Free {gigabytes(missing)}, or put the folder on another disk.")


def _same_disk(one: Path, other: Path) -> bool:
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
