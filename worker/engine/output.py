"""Writing one output shard: preallocated, filled in any order, hashed on the way, published whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.planning.mixture import Mixture
from app.planning.plan import Shard
from app.recipe.findings import Refused, refuse
from worker.engine.crew import BEAT_SECONDS

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_CANNOT_ALLOCATE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_PIECE = 1 << 20
_CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file: its name, size in bytes and SHA-256 in hex. ``mixtures``: of its tensors, as far as the weights
    themselves decided."""

    file: str
    size: int
    sha256: str
    mixtures: tuple[Mixture, ...] = ()


class _Digest(threading.Thread):
    """Hashes a file from front to back as its beginning becomes final, then syncs it to the disk."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__(name="engine-digest", daemon=True)
        self._descriptor = descriptor
        self._size = size
        self._cond = threading.Condition()
        self._final = 0
        self._stopped = False
        self._hash = hashlib.sha256()
        self.finished = threading.Event()
        self.error: BaseException | None = None

    def advance(self, final: int) -> None:
        """Everything before the byte ``final`` will not change any more."""
        with self._cond:
            self._final = max(final, self._final)
            self._cond.notify()

    def stop(self) -> None:
        with self._cond:
            self._stopped = True
            self._cond.notify()
        self.join()

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def run(self) -> None:
        try:
            self._follow()
        except BaseException as error:  # noqa: BLE001  it is raised again by OutputFile.publish
            self.error = error
        self.finished.set()

    def _wait_beyond(self, done: int) -> int:
        with self._cond:
            self._cond.wait_for(lambda: self._stopped or self._final > done)
            return self._final

    def _follow(self) -> None:
        buffer = memoryview(bytearray(_PIECE))
        done = 0
        while done < self._size:
            final = self._wait_beyond(done)
            if self._stopped:
                return
            count = os.preadv(self._descriptor, [buffer[: min(_PIECE, final - done)]], done)
            if not count:
                raise OSError(errno.EIO, "the file being written was cut short by someone else")
            self._hash.update(buffer[:count])
            done += count
        os.fsync(self._descriptor)


class OutputFile:
    """``shard`` in the making, as ``<file><suffix>`` in ``folder``. Left without ``publish``, it is removed.

    Raises Refused(disk-full) wherever the disk, a quota or a file size limit gives out.
    """

    def __init__(self, folder: Path, shard: Shard, suffix: str) -> None:
        self.shard = shard
        self._final_path = folder / shard.file
        self._path = folder / (shard.file + suffix)
        self._lock = threading.Lock()
        try:
            self.descriptor = os.open(self._path, _CREATE, 0o644)
        except OSError as error:
            raise self.explain(error) from error
        self._digest = _Digest(self.descriptor, shard.size)
        self._order = sorted(range(len(shard.steps)), key=lambda index: shard.offsets[index])
        self._front = 0
        self._done = [False] * len(shard.steps)
        self._mixtures: list[Sequence[Mixture]] = [()] * len(shard.steps)
        self._published = False

    def __enter__(self) -> Self:
        try:
            self._allocate()
            self.write(memoryview(self.shard.header), 0)
        except BaseException:
            self._discard()
            raise
        self._digest.start()
        self._advance()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Removes what was not published."""
        self._digest.stop()
        self._discard()

    def _discard(self) -> None:
        os.close(self.descriptor)
        if not self._published:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _allocate(self) -> None:
        try:
            if hasattr(os, "posix_fallocate") and self.shard.size:
                os.posix_fallocate(self.descriptor, 0, self.shard.size)
                return
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise self.explain(error) from error
        try:
            os.ftruncate(self.descriptor, self.shard.size)
        except OSError as error:
            raise self.explain(error) from error

    def explain(self, error: OSError) -> OSError | Refused:
        """Disk full, told for people; any other error as it is."""
        if error.errno not in _FULL:
            return error
        facts = os.statvfs(self._path.parent)
        free = facts.f_bavail * facts.f_frsize
        return refuse(
            "disk-full",
            self.shard.file,
            f"The disk is full: {self.shard.file} needs {self.shard.size} bytes, {free} bytes are free"
            f" ({os.strerror(error.errno or 0)}).",
            "Free some space, or choose another folder for the result.",
        )

    def write(self, data: memoryview, offset: int) -> None:
        """Writes ``data`` (bytes) at the absolute ``offset``."""
        try:
            done = os.pwrite(self.descriptor, data, offset)
            while done < len(data):
                done += os.pwrite(self.descriptor, data[done:], offset + done)
        except OSError as error:
            raise self.explain(error) from error

    def tensor_done(self, index: int, mixtures: Sequence[Mixture] = ()) -> None:
        """The tensor of ``shard.steps[index]`` is complete, mixed of ``mixtures``; its bytes may be hashed."""
        with self._lock:
            self._mixtures[index] = mixtures
            self._done[index] = True
            self._advance()

    def _advance(self) -> None:
        while self._front < len(self._order) and self._done[self._order[self._front]]:
            self._front += 1
        more = self._front < len(self._order)
        self._digest.advance(self.shard.offsets[self._order[self._front]] if more else self.shard.size)

    @property
    def is_safe(self) -> bool:
        """All is hashed and on the disk, or that has failed: ``publish`` need not wait."""
        return self._digest.finished.is_set()

    def publish(self, beat: Callable[[], None]) -> Written:
        """Waits until all is hashed and on the disk, calling ``beat`` meanwhile, then gives the file its name."""
        while not self._digest.finished.wait(BEAT_SECONDS):
            beat()
        if self._digest.error is not None:
            error = self._digest.error
            raise self.explain(error) if isinstance(error, OSError) else error
        self._path.replace(self._final_path)
        self._published = True
        _sync_folder(self._final_path.parent)
        mixtures = {one.key: one for tensor in self._mixtures for one in tensor}
        return Written(self.shard.file, self.shard.size, self._digest.hexdigest(), tuple(mixtures.values()))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
