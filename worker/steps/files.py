"""Small files, written so that they survive a power cut, and hashed on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from worker.engine.execute import Written

_PIECE = 4 << 20


def write_file(folder: Path, name: str, content: bytes) -> Written:
    """A new file ``folder/name``, on the disk when this returns. Raises OSError."""
    return _write(folder, name, [content])


def copy_file(source: Path, folder: Path, name: str, check: Callable[[], None]) -> Written:
    """A copy of ``source``, likewise. ``check`` is called between pieces and may raise."""
    return _write(folder, name, _pieces(source, check))


def sync_folder(folder: Path) -> None:
    """The names in a folder, on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pieces(source: Path, check: Callable[[], None]) -> Iterator[bytes]:
    with source.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
            check()


def _write(folder: Path, name: str, pieces: Iterable[bytes]) -> Written:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return Written(name, size, digest.hexdigest())
