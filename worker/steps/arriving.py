"""A merge that begins while its parents are still on their way: reading a file waits until it is here and checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path

from worker.engine.sources import ByteFile, Folder, SourceFile
from worker.steps.fetch import VERIFIED, Fetching
from worker.steps.watch import Passing, Watch

TICK = 0.1


class Stopped(Exception):
    """The merge is over for another reason."""


class Arrivals(Passing):
    """The watch of such a merge. Until all is here, its bytes are those that arrive, and the stage is downloading."""

    def __init__(self, watch: Watch, fetching: Fetching) -> None:
        super().__init__(watch)
        self._fetching = fetching
        self._owner = threading.get_ident()
        self._over = threading.Event()
        self._all_here = False
        self._later: tuple[str, str, int, int] | None = None
        self._last: tuple[int, int, str] = (0, 0, "")

    def check(self) -> None:
        try:
            self._look()
            self.watch.check()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Whoever waits for a file gets Stopped."""
        self._over.set()

    def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
        if self._all_here:
            self.watch.enter(stage, text, tensors=tensors, size=size)
            return
        self.watch.log(f"{text} It begins with the files that are here.")
        self._later = (stage, text, tensors, size)

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None:
        self._last = (done, tensors, tensor)
        if self._all_here:
            self.watch.progress(done, tensors=tensors, tensor=tensor)

    def wait_for_all(self) -> None:
        while not self._all_here:
            self._look(TICK)
            self.watch.check()

    def wait_for(self, file: Future[Path]) -> Path:
        """Where a file is, once it is here. Raises why it cannot be had, or Stopped."""
        while True:
            try:
                return file.result(TICK)
            except NotYet:
                if self._over.is_set():
                    raise Stopped from None
                if threading.get_ident() == self._owner:
                    self.check()

    def _look(self, seconds: float = 0) -> None:
        if self._all_here or not self._fetching.look(self.watch, seconds):
            return
        self._all_here = True
        self.watch.log(VERIFIED)
        if self._later is not None:
            stage, text, tensors, size = self._later
            done, made, tensor = self._last
            self.watch.enter(stage, text, tensors=tensors, size=size)
            self.watch.progress(done, tensors=made, tensor=tensor)


@dataclass(frozen=True, slots=True)
class ArrivingPlace:
    """A parent, some of whose files are on their way; the others are in ``folder``."""

    folder: Path
    coming: dict[str, Future[Path]]
    arrivals: Arrivals

    def open(self, file: str, label: str, size: int | None) -> ByteFile:
        future = self.coming.get(file)
        if future is None:
            return Folder(self.folder).open(file, label, size)
        if size is None or (future.done() and future.exception() is None):
            return SourceFile(self.arrivals.wait_for(future), label, size)
        return ArrivingFile(lambda: self.arrivals.wait_for(future), label, size)


class ArrivingFile:
    """A ``ByteFile`` that is on its way. ``arrive`` waits for it and says where it is."""

    stamp: Hashable = None

    def __init__(self, arrive: Callable[[], Path], label: str, size: int) -> None:
        self.label, self.size = label, size
        self._arrive = arrive
        self._lock = threading.Lock()
        self._file: SourceFile | None = None

    @property
    def descriptor(self) -> int | None:
        return self._here().descriptor

    def expect(self, begin: int, end: int, turn: int) -> None:
        """All of it is coming."""

    def read(self, into: memoryview, offset: int) -> None:
        self._here().read(into, offset)

    def release(self, begin: int, end: int) -> None:
        """Nothing is held."""

    def check_unchanged(self) -> None:
        if self._file is not None:
            self._file.check_unchanged()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _here(self) -> SourceFile:
        if self._file is None:
            path = self._arrive()
            with self._lock:
                self._file = self._file or SourceFile(path, self.label, self.size)
        return self._file
