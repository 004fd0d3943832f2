"""What is done to a file while it is still being written: threads that go over it as its beginning becomes final."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from abc import ABC, abstractmethod

_PIECE = 1 << 20
_SYNC_BYTES = 64 << 20
"""So much is brought to the disk at a time: enough for a disk to be kept busy, little enough to be done soon after the
last byte is written."""


class Follower(threading.Thread, ABC):
    """Goes over a file of ``size`` bytes from front to back, in steps of at least ``step`` bytes but for the last.

    ``finished`` is set at the end, be it that of the file, of patience (``stop``), or an ``error``.
    """

    def __init__(self, name: str, descriptor: int, size: int, step: int) -> None:
        super().__init__(name=name, daemon=True)
        self.descriptor = descriptor
        self._size = size
        self._step = step
        self._cond = threading.Condition()
        self._final = 0
        self.stopped = False
        self.finished = threading.Event()
        self.error: BaseException | None = None

    @abstractmethod
    def follow(self, begin: int, end: int) -> None:
        """Does what is to be done to the bytes from ``begin`` to ``end``, which are final."""

    def advance(self, final: int) -> None:
        """Everything before the byte ``final`` will not change any more."""
        with self._cond:
            self._final = max(final, self._final)
            self._cond.notify()

    def stop(self) -> None:
        with self._cond:
            self.stopped = True
            self._cond.notify()
        self.join()

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001  it is raised again by OutputFile.publish
            self.error = error
        self.finished.set()

    def _run(self) -> None:
        done = 0
        while done < self._size and not self.stopped:
            final = self._wait_beyond(done)
            self.follow(done, final)
            done = final

    def _wait_beyond(self, done: int) -> int:
        enough = min(done + self._step, self._size)
        with self._cond:
            self._cond.wait_for(lambda: self.stopped or self._final >= enough)
            return done if self.stopped else self._final


class Digest(Follower):
    """The SHA-256 of the file."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__("engine-digest", descriptor, size, 1)
        self._hash = hashlib.sha256()
        self._buffer = memoryview(bytearray(_PIECE))

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def follow(self, begin: int, end: int) -> None:
        while begin < end and not self.stopped:
            count = os.preadv(self.descriptor, [self._buffer[: end - begin]], begin)
            if not count:
                raise OSError(errno.EIO, "the file being written was cut short by someone else")
            self._hash.update(self._buffer[:count])
            begin += count


class Sync(Follower):
    """Brings the file to the disk, most of it while the rest is still being made and hashed."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__("engine-sync", descriptor, size, _SYNC_BYTES)

    def follow(self, begin: int, end: int) -> None:  # noqa: ARG002
        os.fsync(self.descriptor)
