"""A merge on the command line: the worker's steps, with a terminal looking on and a folder as the only memory."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from app.library.facts import Library
from app.planning.plan import Plan
from app.recipe.findings import Refused, refuse
from app.storage.base import Manifest
from app.storage.local import read_manifest
from worker.bar import Bar
from worker.engine.execute import Written
from worker.explain import explain
from worker.sizes import gigabytes
from worker.steps.align import KEPT
from worker.steps.checkpoint import Order, make_checkpoint
from worker.steps.watch import Watch

Make = Callable[[Order, Library, Watch], Manifest]
RECORD = ".weightloom-shards.jsonl"
"""In the unfinished folder: one line a finished shard."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM. ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Broke(Refused):
    """It was refused, or failed, after the checks."""


@dataclass(frozen=True)
class Wanted:
    """The command's arguments. ``recipe`` is the YAML text."""

    recipe: str
    out: Path
    seed: int | None
    device: str
    threads: int | None
    token: str | None
    stream: bool = False


def unfinished_folder(out: Path) -> Path:
    """Where a merge into ``out`` is made until it is whole: beside it, under a name that says so."""
    return out.with_name(f"{out.name}.unfinished")


def merge_into(wanted: Wanted, library: Library, bar: Bar, make: Make = make_checkpoint) -> Manifest:
    """Make the checkpoint ``wanted.out``, going on after an unfinished one of the same merge.

    Raises Refused by the checks, Broke later on, or Interrupted; finished shards then wait for the next time.
    """
    out = wanted.out.resolve()
    must_be_free(out)
    work = unfinished_folder(out)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Refused(explain(problem)) from problem
    with _alone(work), _listening() as heard:
        watch = Console(work, bar, heard)
        order = Order(
            recipe=wanted.recipe, work=work, final=out, title=out.name, seed=wanted.seed, token=wanted.token,
            device=wanted.device, threads=wanted.threads, epoch=os.getpid(), pin=False,
            stream=wanted.stream,
        )  # fmt: skip
        try:
            return make(order, library, watch)
        except (Refused, OSError, MemoryError) as problem:
            if isinstance(problem, Refused) and watch.stage == "checking":
                raise
            raise Broke(explain(problem)) from problem
        finally:
            bar.clear()
            _remove_if_useless(work)


class Console:
    """The ``Watch`` of the command line."""

    def __init__(self, work: Path, bar: Bar, heard: list[int]) -> None:
        self.stage = "checking"
        self._record, self._bar, self._heard = work / RECORD, bar, heard

    def check(self) -> None:
        if self._heard:
            raise Interrupted(self._heard[0])

    def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:  # noqa: ARG002
        self.check()
        self.stage = stage
        self._bar.say(text)
        self._bar.begin(stage.capitalize(), size)

    def log(self, text: str) -> None:
        self._bar.say(text)

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None:  # noqa: ARG002
        self._bar.at(done, tensor)

    def planned(self, plan: Plan, memory_bytes: int) -> None:
        """Nothing to keep: the recipe is at hand the next time too."""

    def reserve(self, need: int, free: int) -> int:
        return max(0, need - free)

    def finished(self, key: str) -> Mapping[str, Written]:
        try:
            lines = self._record.read_text().splitlines()
        except FileNotFoundError:
            return {}
        return {shard.file: shard for line in lines if (shard := _recorded(line, key))}

    def shard(self, written: Written, key: str) -> None:
        with self._record.open("a") as record:
            told = {"key": key, "file": written.file, "size": written.size, "sha256": written.sha256}
            record.write(json.dumps(told) + "\n")
            record.flush()
            os.fsync(record.fileno())
        self._bar.say(f"{written.file} is safe on disk: {gigabytes(written.size)}, sha256 {written.sha256[:12]}…")


def _recorded(line: str, key: str) -> Written | None:
    """A line of the record, if it is whole and belongs to the same plan."""
    try:
        told = json.loads(line)
        shard = Written(str(told["file"]), int(told["size"]), str(told["sha256"]))
    except (ValueError, KeyError, TypeError):
        return None
    return shard if told["key"] == key else None


def must_be_free(out: Path) -> None:
    """Raises Refused unless a result may be put into this folder."""
    if read_manifest(out) is not None:
        raise refuse("already-there", str(out), "This folder holds a finished merge already.", "Choose another folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise refuse("not-empty", str(out), "The result needs a new or empty folder.", "Choose another folder.")


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        text = "Another merge into this folder is running."
        raise refuse("already-running", str(work), text, "Wait for it, or choose another folder.") from None
    finally:
        os.close(descriptor)


@contextmanager
def _listening() -> Iterator[list[int]]:
    """The stop signals that came, in order. The second of them ends the process at once, as if nobody listened."""
    heard: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _remove_if_useless(work: Path) -> None:
    """An unfinished folder without a finished shard, or anything else that is kept, is of no use to anybody."""
    if work.is_dir() and not (work / RECORD).exists() and not any(work.glob(f"{KEPT}*")):
        for path in sorted(work.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        work.rmdir()
