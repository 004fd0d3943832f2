"""Room on the disk for bytes that are needed for a moment: a file without a name, which a crash cannot leave behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


class Scratch:
    """Slots of ``size`` bytes, used again once they are free. Usable from many threads, but for ``take`` and ``free``.

    Raises OSError where the disk gives out.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._size = size
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".scratch-")  # noqa: SIM115  closed by close()
        self._free: list[int] = []
        self._slots = 0

    def take(self) -> int:
        """A slot."""
        if self._free:
            return self._free.pop()
        self._slots += 1
        return self._slots - 1

    def free(self, slot: int) -> None:
        self._free.append(slot)

    def write(self, data: memoryview, slot: int, begin: int) -> None:
        """Puts ``data`` at ``begin`` bytes into a slot."""
        position = slot * self._size + begin
        while data:
            written = os.pwrite(self._file.fileno(), data, position)
            position, data = position + written, data[written:]

    def read(self, into: memoryview, slot: int, begin: int) -> None:
        """Fills ``into`` from ``begin`` bytes into a slot, which was written there."""
        done = 0
        while done < len(into):
            count = os.preadv(self._file.fileno(), [into[done:]], slot * self._size + begin + done)
            if not count:
                raise OSError(f"{len(into) - done} bytes are missing in the scratch file")
            done += count

    def close(self) -> None:
        self._file.close()
