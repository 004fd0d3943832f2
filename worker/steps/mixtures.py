"""What the tensors of finished shards were mixed of, kept beside them until the result is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from app.planning.mixture import mixtures_of, rows_of, tells
from app.planning.plan import Plan
from worker.engine.execute import Written
from worker.steps.files import write_file


def keep(plan: Plan, written: Written, out: Path, key: str) -> None:
    """Write down what a shard was mixed of, before it counts as finished. ``key`` is the plan's. Raises OSError."""
    shard = next(shard for shard in plan.shards if shard.file == written.file)
    if tells(shard.steps):
        content = {"key": key, "tensors": rows_of(written.mixtures)}
        write_file(out, _record(written.file), json.dumps(content).encode())


def with_mixtures(plan: Plan, finished: Mapping[str, Written], out: Path, key: str) -> dict[str, Written]:
    """The finished shards, each with what it was mixed of. One whose record is lost is left out: it is made again."""
    return {one.file: one for one in _known(plan, finished, out, key)}


def _known(plan: Plan, finished: Mapping[str, Written], out: Path, key: str) -> Iterator[Written]:
    for shard in plan.shards:
        written = finished.get(shard.file)
        if written is None:
            continue
        if not tells(shard.steps):
            yield written
            continue
        try:
            content = json.loads((out / _record(shard.file)).read_bytes())
            if content["key"] == key:
                yield replace(written, mixtures=mixtures_of(content["tensors"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _record(file: str) -> str:
    return f".{file}.mixtures.json"
