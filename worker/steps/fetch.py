"""Second step: every file of the parents that the plan reads, on this machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath

from app.library.facts import Library
from app.planning.facts import FileFacts, ModelFacts
from app.planning.plan import Plan
from app.recipe.findings import refuse
from app.recipe.references import parse_reference
from worker.sizes import gigabytes
from worker.steps.watch import Watch

AT_ONCE = 4
"""Files fetched side by side: one connection alone rarely fills a line."""


class _Stopped(Exception):
    """Another download failed, or the job is to stop."""


def fetch(plan: Plan, library: Library, watch: Watch, *, token: str | None = None) -> tuple[Path, ...]:
    """Each parent's folder, with every file in it that the plan needs. Raises Refused, or what ``watch`` raises."""
    wanted = _wanted(plan)
    size = sum(file.size for files in wanted for file in files if not file.present)
    if size:
        watch.enter("downloading", f"Fetching {gigabytes(size)} of parents.", size=size)
        _Fetching(plan, library, watch, token).run(wanted)
        watch.log("Everything that was fetched has the hash the Hub names.")
    return tuple(_folder(parent, files, library) for parent, files in zip(plan.parents, wanted, strict=True))


def _wanted(plan: Plan) -> list[list[FileFacts]]:
    """The files needed of each parent."""
    known = [{file.name: file for file in parent.files} for parent in plan.parents]
    wanted: list[list[FileFacts]] = [[] for _ in plan.parents]
    for parent, name in plan.files_needed:
        if name not in known[parent]:
            raise refuse(
                "missing-file", plan.parents[parent].ref, f"{name} is not there, though the model names it.",
                "The model is incomplete; choose another revision or fetch it again.",
            )  # fmt: skip
        wanted[parent].append(known[parent][name])
    return wanted


class _Fetching:
    """Downloads in threads; the calling thread looks on and keeps the watch."""

    def __init__(self, plan: Plan, library: Library, watch: Watch, token: str | None) -> None:
        self._plan, self._library, self._watch, self._token = plan, library, watch, token
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done = 0
        self._news: list[str] = []

    def run(self, wanted: Sequence[Sequence[FileFacts]]) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            futures = {
                pool.submit(self._one, parent, file)
                for parent, files in zip(self._plan.parents, wanted, strict=True)
                for file in files
                if not file.present
            }
            try:
                self._look_on(futures)
            finally:
                self._stop.set()

    def _look_on(self, waiting: set[Future[None]]) -> None:
        while waiting:
            done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
            with self._lock:
                news, self._news = self._news, []
            for text in news:
                self._watch.log(text)
            for future in done:
                future.result()
            self._watch.progress(self._done)
            self._watch.check()

    def _one(self, parent: ModelFacts, file: FileFacts) -> None:
        repo, commit = _place(parent)
        hub = self._library.hub
        if hub is None:
            raise refuse("no-hub", parent.ref, "No Hub is set, so nothing can be fetched.", "Use local models.")
        hub.download(repo, commit, file, self._token, on_bytes=self._count, check=self._go_on, on_wait=self._waits)
        with self._lock:
            self._news.append(f"Fetched {file.name} of {repo} ({gigabytes(file.size)}).")

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


def _folder(parent: ModelFacts, files: Sequence[FileFacts], library: Library) -> Path:
    """Where the files lie. Looks for each, so that a file that vanished is told of now and not in the middle."""
    folder = library.folder(parent)
    for file in files:
        path = folder.joinpath(*PurePosixPath(file.name).parts)
        if not path.is_file() or path.stat().st_size != file.size:
            raise refuse(
                "parent-changed", parent.ref, f"{file.name} has gone or changed since the model was checked.",
                "Check the recipe again, then start anew.",
            )  # fmt: skip
    return folder
