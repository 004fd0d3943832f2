"""Last step: the result becomes visible, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.storage.base import MANIFEST, ArtifactFile, Manifest
from app.storage.local import read_manifest
from worker.engine.execute import Written
from worker.steps.files import sync_folder, write_file


def publish(work: Path, final: Path, files: Sequence[Written], about: Mapping[str, Any]) -> Manifest:
    """Make the folder ``work`` the finished checkpoint ``final``: on the same filesystem, absent or empty.

    Every file in ``files`` is on the disk already; anything else in ``work`` goes. The manifest comes last, then one
    rename. When ``final`` is a finished checkpoint already, that one stays. Raises OSError.
    """
    there = read_manifest(final)
    if there is not None:
        shutil.rmtree(work, ignore_errors=True)
        return there
    listed = tuple(ArtifactFile(one.file, one.size, one.sha256) for one in sorted(files, key=lambda one: one.file))
    manifest = Manifest(listed, dict(about))
    _only(work, {one.name for one in listed})
    write_file(work, MANIFEST, (json.dumps(manifest.as_dict(), indent=2, ensure_ascii=False) + "\n").encode())
    for folder, _, _ in os.walk(work):
        sync_folder(Path(folder))
    final.parent.mkdir(parents=True, exist_ok=True)
    work.rename(final)
    sync_folder(final.parent)
    sync_folder(work.parent)
    return manifest


def _only(work: Path, names: set[str]) -> None:
    for path in work.rglob("*"):
        if not path.is_dir() and path.relative_to(work).as_posix() not in names:
            path.unlink()
