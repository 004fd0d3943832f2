"""Artifacts in a folder of this machine, one subfolder each."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from app.recipe.findings import refuse
from app.storage.base import MANIFEST, ArtifactFile, Manifest

_ID = re.compile(r"[0-9a-f]{32}")
_LARGEST_MANIFEST = 16 << 20


class LocalArtifacts:
    """``folder/<id>/...``. Ids are 32 hex digits and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ids(self) -> Sequence[str]:
        if not self.folder.is_dir():
            return []
        return [entry.name for entry in os.scandir(self.folder) if _ID.fullmatch(entry.name) and entry.is_dir()]

    def manifest(self, artifact_id: str) -> Manifest | None:
        return read_manifest(self.folder / artifact_id) if _ID.fullmatch(artifact_id) else None

    def open(self, artifact_id: str, name: str) -> BinaryIO:
        manifest = self.manifest(artifact_id)
        if manifest is None or (name != MANIFEST and manifest.file(name) is None):
            raise refuse(
                "no-such-file", name, "There is no such file in this checkpoint.", "Look at its list of files."
            )
        try:
            descriptor = os.open(self.folder / artifact_id / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as problem:
            text = f"{name} of this checkpoint cannot be read any more ({problem.strerror})."
            raise refuse("no-such-file", name, text, "Run the merge again.") from None
        return os.fdopen(descriptor, "rb")

    def delete(self, artifact_id: str) -> None:
        if _ID.fullmatch(artifact_id):
            (self.folder / artifact_id / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.folder / artifact_id, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished checkpoint's folder. None when there is none or it cannot be read as one."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            about = json.loads(file.read(_LARGEST_MANIFEST))
        files = tuple(
            ArtifactFile(str(one["name"]), int(one["size"]), str(one["sha256"])) for one in about.pop("files")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Manifest(files, about) if all(_is_plain_name(file.name) for file in files) else None


def _is_plain_name(name: str) -> bool:
    """A file name below the artifact's folder; subfolders are allowed, ways out are not."""
    parts = name.split("/")
    return "\0" not in name and "\\" not in name and all(part not in ("", ".", "..") for part in parts)
