"""The engine's one entry: makes the weight files of a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Any, Self

from app.planning.plan import Plan, Shard
from worker.engine.backends import open_backend
from worker.engine.copying import copy
from worker.engine.crew import Bench, Crew, default_threads
from worker.engine.dtypes import ITEMSIZE
from worker.engine.made import Benches, MadeSource, mixtures
from worker.engine.methods import METHODS
from worker.engine.opened import Sources
from worker.engine.output import OutputFile, Written
from worker.engine.sources import Place, Source
from worker.engine.work import Work

__all__ = ["Progress", "Written", "execute"]

_TELL_SECONDS = 0.1
_CHECK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the merge is. Bytes are output bytes, headers included; ``tensor`` is the last one finished."""

    tensors_done: int
    tensors_total: int
    bytes_done: int
    bytes_total: int
    tensor: str


def execute(
    plan: Plan,
    places: Sequence[Path | Place],
    out: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    chunk: int = 65536,
    finished: Mapping[str, Written] = MappingProxyType({}),
    suffix: str = ".partial",
    on_progress: Callable[[Progress], None] | None = None,
    on_shard: Callable[[Written], None] | None = None,
    check: Callable[[], None] | None = None,
) -> tuple[Written, ...]:
    """Writes the shards of ``plan`` into the folder ``out``, each whole or not at all; returns what was written.

    ``places[i]`` holds the files of ``plan.parents[i]``: a folder, or whatever can open them. ``device``: ``cpu``,
    ``cuda`` (``cuda:1``) or ``torch:cpu``. ``threads``: by default the processor's cores, at least 2, at most 8.
    ``chunk``: elements worked on at a time; neither it nor the threads change the result. ``finished``: shards of an
    earlier attempt, not made again when the file is there with the right size. While being written a shard is called
    ``<file><suffix>``.

    Arithmetic is in fp32 on the inputs as they are stored; only fp64 inputs are rounded to fp32 before it, and fp64
    results hold fp32 values (tensors that are merely copied keep every bit). Results are rounded once, to nearest even.

    The callbacks run in the calling thread: ``on_progress`` at most ten times a second and after each shard,
    ``on_shard`` when a shard has its name and is on the disk, ``check`` at least four times a second: what it raises
    stops the merge, the unfinished shard is removed, and the exception comes out of here.

    Raises Refused with code ``not-finite`` (NaN or infinite values in a parent or in the result), ``parent-changed``,
    ``parents-differ``, ``disk-full``, ``no-gpu``; OSError for failing disks.
    """
    run = _Run(plan, places, out, suffix, _Ledger(plan, on_progress, check))
    out.mkdir(parents=True, exist_ok=True)
    run.backend = open_backend(device, plan, chunk)
    run.benches = Benches(run.backend.bench)
    with Crew(threads or default_threads(), run.backend.bench) as crew, _Finishing(run.ledger, on_shard) as finishing:
        for shard in plan.shards:
            earlier = finished.get(shard.file)
            if earlier is not None and _is_there(out / shard.file, earlier, shard):
                finishing.skip(shard, earlier)
            else:
                finishing.take(run.make_shard(shard, crew, finishing.beat))
    return tuple(finishing.written)


def _is_there(path: Path, earlier: Written, shard: Shard) -> bool:
    return earlier.size == shard.size and path.is_file() and path.stat().st_size == shard.size


class _Ledger:
    """Counts what is done and tells the caller, from the caller's thread."""

    def __init__(
        self, plan: Plan, on_progress: Callable[[Progress], None] | None, check: Callable[[], None] | None
    ) -> None:
        self._lock = Lock()
        self._on_progress = on_progress
        self._check = check
        self._tensors_total = sum(len(shard.steps) for shard in plan.shards)
        self._bytes_total = plan.output_bytes
        self._tensors = 0
        self._bytes = 0
        self._tensor = ""
        self._told = self._checked = float("-inf")

    def wrote(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def tensor_done(self, name: str) -> None:
        with self._lock:
            self._tensors += 1
            self._tensor = name

    def shard_skipped(self, shard: Shard) -> None:
        self._tensors += len(shard.steps)
        self._bytes += shard.size
        self._tensor = shard.steps[-1].name if shard.steps else self._tensor
        self.beat(tell=True)

    def beat(self, tell: bool = False) -> None:
        now = time.monotonic()
        if self._check is not None and now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            self._check()
        if self._on_progress is not None and (tell or now - self._told >= _TELL_SECONDS):
            self._told = now
            with self._lock:
                progress = Progress(self._tensors, self._tensors_total, self._bytes, self._bytes_total, self._tensor)
            self._on_progress(progress)


class _Finishing:
    """Publishes shards: each is hashed and brought to the disk while the next one is made already.

    Left by an error, it still publishes a shard that is whole, unless that is being stopped too.
    """

    def __init__(self, ledger: _Ledger, on_shard: Callable[[Written], None] | None) -> None:
        self.written: list[Written] = []
        self._ledger = ledger
        self._on_shard = on_shard
        self._waiting: OutputFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.take(None)
        except BaseException:
            if kind is None:
                raise

    def beat(self) -> None:
        """While the next shard is made."""
        self._ledger.beat()
        if self._waiting is not None and self._waiting.is_safe:
            self.take(None)

    def take(self, output: OutputFile | None) -> None:
        """Publishes the one before; ``output`` waits for its turn."""
        ready, self._waiting = self._waiting, output
        if ready is None:
            return
        with closing(ready):
            self.written.append(ready.publish(self._ledger.beat))
        self._ledger.beat(tell=True)
        if self._on_shard is not None:
            self._on_shard(self.written[-1])

    def skip(self, shard: Shard, earlier: Written) -> None:
        """A shard that an earlier attempt has made."""
        self.take(None)
        self._ledger.shard_skipped(shard)
        self.written.append(earlier)


class _Run:
    """One call of ``execute``."""

    backend: Any
    benches: Benches

    def __init__(self, plan: Plan, places: Sequence[Path | Place], out: Path, suffix: str, ledger: _Ledger) -> None:
        if len(places) != len(plan.parents):
            raise ValueError(f"{len(places)} places for {len(plan.parents)} parents")
        self.out = out
        self.suffix = suffix
        self.ledger = ledger
        self.seed = plan.seed
        self.sources = Sources(plan, places)

    def make_shard(self, shard: Shard, crew: Crew, beat: Callable[[], None]) -> OutputFile:
        """The shard with all its tensors, not published yet."""
        with self.sources as sources, ExitStack() as undo:
            output = undo.enter_context(OutputFile(self.out, shard, self.suffix))
            self.ledger.wrote(len(shard.header))
            tasks = []
            for index in range(len(shard.steps)):
                inputs = tuple(sources.open(one, index) for one in shard.steps[index].every_input)
                tasks.append(partial(self._make_tensor, output, index, inputs, crew))
            crew.run(tasks, beat)
            sources.check_unchanged()
            undo.pop_all()
        return output

    def _make_tensor(
        self, output: OutputFile, index: int, sources: tuple[Source, ...], crew: Crew, bench: Bench
    ) -> None:
        step = output.shard.steps[index]
        offset = output.shard.offsets[index]
        work = Work(step, sources, self.seed, output, offset, self.backend, crew, bench, self.ledger.wrote)
        for source in sources:
            if isinstance(source, MadeSource):
                source.prepare(METHODS.__getitem__, self.backend, crew, bench, self.benches)
        if step.method == "copy" and (step.dtype == sources[0].dtype or step.dtype not in ITEMSIZE):
            copy(work)
        else:
            METHODS["passthrough" if step.method == "copy" else step.method](work)
        found = tuple(mixtures(work))
        for source in sources:
            source.release()
        output.tensor_done(index, found)
        self.ledger.tensor_done(step.name)
