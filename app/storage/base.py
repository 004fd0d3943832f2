"""Where finished checkpoints live. The local folder is one such place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Protocol

MANIFEST = "MANIFEST.json"
"""The file that makes a folder an artifact. It is written last and names every other file."""


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file: its name, size in bytes and SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an artifact consists of. ``about`` tells how it was made: recipe, seed, parents, program."""

    files: tuple[ArtifactFile, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def file(self, name: str) -> ArtifactFile | None:
        return next((file for file in self.files if file.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        return {**self.about, "files": [asdict(file) for file in self.files]}


class Artifacts(Protocol):
    """Finished checkpoints by an opaque id. Nothing in here takes a path, and only manifests say which files exist."""

    def ids(self) -> Sequence[str]:
        """The ids of all artifacts, in no particular order."""

    def manifest(self, artifact_id: str) -> Manifest | None:
        """None when there is no such artifact, or no whole one."""

    def open(self, artifact_id: str, name: str) -> BinaryIO:
        """A file of an artifact for reading; it stays readable when the artifact is deleted meanwhile.

        Raises Refused (``no-such-file``) for a name its manifest does not list."""

    def delete(self, artifact_id: str) -> None:
        """Remove an artifact, if it is there: the manifest goes first."""
