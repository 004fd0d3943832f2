"""A file on its way here: written in several places at once, and found again after a crash.

On disk it is the content, as long as it will be, followed by one little-endian 64-bit number per segment: how many
bytes of the segment are there. A number is written after its bytes, so a killed process loses a piece at most; what a
power cut may do to it is found by the hash of the whole. The numbers are cut off when the file is complete.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.recipe.findings import refuse

WHOLE = 32 << 20
"""Files up to this many bytes are fetched in one segment."""
SEGMENTS = 4
_NUMBER = struct.Struct("<Q")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Partial:
    """The open file. ``bounds`` are the segments' ``(begin, end)``, ``done`` the bytes each one has."""

    def __init__(self, path: Path, size: int, name: str) -> None:
        """Open or create; ``name`` is what people call the file. Raises Refused (``disk-full``) if there is no room."""
        self.path, self.size, self.name = path, size, name
        count = 1 if size <= WHOLE else SEGMENTS
        step = -(-size // count)
        self.bounds = [(index * step, min(size, (index + 1) * step)) for index in range(count)]
        self.done = [0] * count
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self.done = self._read_done() or self._start()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def present(self) -> int:
        """Bytes that are here."""
        return sum(self.done)

    @property
    def complete(self) -> bool:
        return self.present == self.size

    def write(self, segment: int, data: bytes | memoryview) -> None:
        """Append to a segment. Raises Refused (``disk-full``)."""
        begin, _ = self.bounds[segment]
        with self._told_when_full():
            position, rest = begin + self.done[segment], memoryview(data)
            while rest:
                written = os.pwrite(self._fd, rest, position)
                position, rest = position + written, rest[written:]
            self.done[segment] = position - begin
            os.pwrite(self._fd, _NUMBER.pack(self.done[segment]), self.size + segment * _NUMBER.size)

    def start_over(self) -> None:
        """Forget every byte."""
        os.ftruncate(self._fd, 0)
        self.done = self._start()

    def read(self, begin: int, length: int) -> bytes:
        return os.pread(self._fd, length, begin)

    def publish(self, target: Path) -> None:
        """Make it the finished file, durably. Raises Refused (``disk-full``)."""
        with self._told_when_full():
            os.ftruncate(self._fd, self.size)
            os.fsync(self._fd)
        self.path.replace(target)

    def close(self) -> None:
        os.close(self._fd)

    def _read_done(self) -> list[int] | None:
        """What an earlier attempt noted; None when this is not its file."""
        trailer = len(self.bounds) * _NUMBER.size
        if os.fstat(self._fd).st_size != self.size + trailer:
            return None
        done = [number for (number,) in _NUMBER.iter_unpack(os.pread(self._fd, trailer, self.size))]
        fits = all(number <= end - begin for number, (begin, end) in zip(done, self.bounds, strict=True))
        return done if fits else None

    def _start(self) -> list[int]:
        with self._told_when_full():
            os.ftruncate(self._fd, 0)
            if self._free() < self.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(self._fd, self.size + len(self.bounds) * _NUMBER.size)
        return [0] * len(self.bounds)

    def _free(self) -> int:
        room = os.fstatvfs(self._fd)
        return room.f_bavail * room.f_frsize

    @contextmanager
    def _told_when_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise refuse(
                "disk-full", self.name,
                f"The disk is full: {self.size - self.present:,} bytes are still needed, {self._free():,} are free "
                f"in {self.path.parent}.",
                "Make room, or set HF_HOME to a larger disk.",
            ) from error  # fmt: skip
