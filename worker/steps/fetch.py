"""Fetching parents: every file that a plan reads, on this machine, several at a time and in the order of their use."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from app.library.facts import Library
from app.planning.facts import FileFacts, ModelFacts
from app.recipe.findings import refuse
from app.recipe.references import parse_reference
from worker.sizes import gigabytes
from worker.steps.watch import Watch

AT_ONCE = 4
"""Files fetched side by side: one connection alone rarely fills a line."""


class Needs(Protocol):
    """What has files to be fetched: a plan, or a comparison."""

    @property
    def parents(self) -> tuple[ModelFacts, ...]: ...

    @property
    def files_needed(self) -> tuple[tuple[int, str], ...]:
        """``(parent, file)``, each once."""


class _Stopped(Exception):
    """Another download failed, or the job is to stop."""


def fetch(plan: Needs, library: Library, watch: Watch, *, token: str | None = None) -> tuple[Path, ...]:
    """Each parent's folder, with every file in it that the plan needs. Raises Refused, or what ``watch`` raises."""
    wanted = wanted_files(plan)
    with Fetching(plan, library, token, wanted) as fetching:
        if fetching.size:
            watch.enter("downloading", f"Fetching {gigabytes(fetching.size)} of parents.", size=fetching.size)
            while not fetching.look(watch, seconds=0.1):
                watch.check()
            watch.log(VERIFIED)
    return folders(plan, wanted, library)


VERIFIED = "Everything that was fetched has the hash the Hub names."
Wanted = tuple[tuple[int, FileFacts], ...]
"""Parents and their files, each file once, in the order in which they are used."""


def wanted_files(plan: Needs) -> Wanted:
    """Raises Refused when a model names a file that it has not got."""
    known = [{file.name: file for file in parent.files} for parent in plan.parents]
    for parent, name in plan.files_needed:
        if name not in known[parent]:
            raise refuse(
                "missing-file", plan.parents[parent].ref, f"{name} is not there, though the model names it.",
                "The model is incomplete; choose another revision or fetch it again.",
            )  # fmt: skip
    return tuple((parent, known[parent][name]) for parent, name in plan.files_needed)


def folders(plan: Needs, wanted: Wanted, library: Library) -> tuple[Path, ...]:
    """Each parent's folder. Looks for every file, so that one that vanished is told of now and not in the middle."""
    return tuple(
        _folder(facts, [file for owner, file in wanted if owner == parent], library)
        for parent, facts in enumerate(plan.parents)
    )


class Fetching:
    """Downloads in threads of their own. ``size``: bytes that were not here; ``files``: each one's place, once it is
    here, or why it cannot be had. Leaving stops what is still on its way."""

    def __init__(self, plan: Needs, library: Library, token: str | None, wanted: Wanted) -> None:
        self._plan, self._library, self._token = plan, library, token
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done = 0
        self._news: list[str] = []
        self._missing = [(parent, file) for parent, file in wanted if not file.present]
        self.size = sum(file.size for _, file in self._missing)
        self.files: dict[tuple[int, str], Future[Path]] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")

    def __enter__(self) -> Self:
        for parent, file in self._missing:
            self.files[parent, file.name] = self._pool.submit(self._one, self._plan.parents[parent], file)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def look(self, watch: Watch, seconds: float = 0) -> bool:
        """Tell ``watch`` how it goes, after at most so many seconds; whether all is here. Raises what went wrong."""
        wait(self.files.values(), timeout=seconds)
        with self._lock:
            news, self._news = self._news, []
        for text in news:
            watch.log(text)
        finished = [future for future in self.files.values() if future.done()]
        problems = [problem for future in finished if (problem := future.exception()) is not None]
        for problem in sorted(problems, key=lambda one: isinstance(one, _Stopped)):
            raise problem
        watch.progress(self._done)
        return len(finished) == len(self.files)

    def _one(self, parent: ModelFacts, file: FileFacts) -> Path:
        repo, commit = _place(parent)
        hub = self._library.hub
        if hub is None:
            raise refuse("no-hub", parent.ref, "No Hub is set, so nothing can be fetched.", "Use local models.")
        place = hub.download(
            repo, commit, file, self._token,
            on_bytes=self._count, check=self._go_on, on_wait=self._waits,
        )  # fmt: skip
        with self._lock:
            self._news.append(f"Fetched {file.name} of {repo} ({gigabytes(file.size)}).")
        return place

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _waits(self, seconds: float, why: str) -> None:
        with self._lock:
            self._news.append(f"{why} Trying again in {seconds:.0f} s.")


def _place(parent: ModelFacts) -> tuple[str, str]:
    if parent.commit is None:
        raise refuse("missing-file", parent.ref, "A file of this folder is gone.", "Put it back, or choose another.")
    return parse_reference(parent.ref).name, parent.commit


def _folder(parent: ModelFacts, files: list[FileFacts], library: Library) -> Path:
    folder = library.folder(parent)
    for file in files:
        path = folder.joinpath(*PurePosixPath(file.name).parts)
        if not path.is_file() or path.stat().st_size != file.size:
            raise refuse(
                "parent-changed", parent.ref, f"{file.name} has gone or changed since the model was checked.",
                "Check the recipe again, then start anew.",
            )  # fmt: skip
    return folder
