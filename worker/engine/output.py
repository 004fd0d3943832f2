"""Writing one output shard: preallocated, filled in any order, hashed on the way, published whole or not at all."""

from __future__ import annotations

import contextlib
import errno
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
from worker.engine.following import Digest, Sync

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_CANNOT_ALLOCATE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Written:
    """A finished file: its name, size in bytes and SHA-256 in hex. ``mixtures``: of its tensors, as far as the weights
    themselves decided."""

    file: str
    size: int
    sha256: str
    mixtures: tuple[Mixture, ...] = ()


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
        self._digest = Digest(self.descriptor, shard.size)
        self._followers = (self._digest, Sync(self.descriptor, shard.size))
        self._order = sorted(range(len(shard.steps)), key=lambda index: shard.offsets[index])
        self._front = 0
        self._done = [False] * len(shard.steps)
        self._mixtures: list[Sequence[Mixture]] = [()] * len(shard.steps)
        self._published = False

    def __enter__(self) -> Self:
        try:
            self._allocate()
            self.write([memoryview(self.shard.header)], 0)
        except BaseException:
            self._discard()
            raise
        for one in self._followers:
            one.start()
        self._advance()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Removes what was not published."""
        for one in self._followers:
            one.stop()
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

    def write(self, pieces: Sequence[memoryview], offset: int) -> None:
        """Writes ``pieces`` (bytes), one behind the other, from the absolute ``offset`` on."""
        left = list(pieces)
        try:
            while left:
                done = os.pwritev(self.descriptor, left, offset)
                offset += done
                while left and done >= len(left[0]):
                    done -= len(left.pop(0))
                if left:
                    left[0] = left[0][done:]
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
        final = self.shard.offsets[self._order[self._front]] if more else self.shard.size
        for one in self._followers:
            one.advance(final)

    @property
    def is_safe(self) -> bool:
        """All is hashed and on the disk, or that has failed: ``publish`` need not wait."""
        return all(one.finished.is_set() for one in self._followers)

    def publish(self, beat: Callable[[], None]) -> Written:
        """Waits until all is hashed and on the disk, calling ``beat`` meanwhile, then gives the file its name."""
        for one in self._followers:
            while not one.finished.wait(BEAT_SECONDS):
                beat()
            if one.error is not None:
                raise self.explain(one.error) if isinstance(one.error, OSError) else one.error
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
