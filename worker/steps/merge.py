"""Third step: the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from app.planning.facts import ModelFacts
from app.planning.plan import Plan
from app.recipe.counted import counted
from worker.engine.execute import Progress, Written, execute
from worker.engine.sources import Place
from worker.steps.mixtures import keep, with_mixtures
from worker.steps.watch import Watch


def merge(
    plan: Plan, places: Sequence[Path | Place], out: Path, watch: Watch, *, device: str, threads: int | None, epoch: int
) -> tuple[Written, ...]:
    """Write the shards of ``plan`` into ``out``, but for those an earlier attempt has finished.

    ``epoch`` keeps the unfinished files of two attempts apart. Raises Refused, OSError, or what ``watch`` raises.
    """
    key = plan_key(plan, places)
    tensors = sum(1 for _ in plan.steps())
    text = f"Merging {counted(tensors, 'tensor')} into {counted(len(plan.shards), 'file')}."
    watch.enter("merging", text, tensors=tensors, size=plan.output_bytes)
    finished = with_mixtures(plan, watch.finished(key), out, key)
    _remove_strangers(out, set(finished))
    if finished:
        watch.log(f"Going on after {len(finished)} finished of {len(plan.shards)} files.")

    def on_progress(progress: Progress) -> None:
        watch.progress(progress.bytes_done, tensors=progress.tensors_done, tensor=progress.tensor)

    def on_shard(written: Written) -> None:
        keep(plan, written, out, key)
        watch.shard(written, key)

    return execute(
        plan,
        places,
        out,
        device=device,
        threads=threads,
        finished=finished,
        suffix=f".partial-{epoch}",
        on_progress=on_progress,
        on_shard=on_shard,
        check=watch.check,
    )


def plan_key(plan: Plan, places: Sequence[Path | Place]) -> str:
    """Hex SHA-256 of all that decides the shards' bytes: their headers and steps, the seed, and the parents' content
    (the commit; for a folder, each file's size and time of change, since tokenizers too decide where rows go)."""
    digest = hashlib.sha256(str(plan.seed).encode())
    for parent, place in zip(plan.parents, places, strict=True):
        digest.update(repr(_identity(parent, place)).encode())
    for shard in plan.shards:
        digest.update(shard.header)
        for step in shard.steps:
            digest.update(repr(step).encode())
    return digest.hexdigest()


def _identity(parent: ModelFacts, place: Path | Place) -> list[tuple[str, int, int | str | None]]:
    if parent.commit is not None or not isinstance(place, Path):
        return [(file.name, file.size, file.sha256 or file.oid) for file in parent.files]
    paths = [(file, place.joinpath(*PurePosixPath(file.name).parts)) for file in parent.files]
    return [(file.name, file.size, path.stat().st_mtime_ns) for file, path in paths if path.exists()]


def _remove_strangers(out: Path, keep: set[str]) -> None:
    """Whatever lies in ``out`` but the finished shards and hidden files: what attempts that died have half written."""
    if out.is_dir():
        for path in out.iterdir():
            if path.is_file() and path.name not in keep and not path.name.startswith("."):
                path.unlink()
