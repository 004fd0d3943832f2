"""The repositories of the stand-in Hub: folders on disk seen as commits.

``<root>/<owner>/<name>/`` is the ``main`` branch; what it holds is what is served, so a test may simply write files.
An optional ``.hub.json`` in it says what the Hub knows besides: ``{"private": true, "gated": "manual",
"granted": ["bob"], "downloads": 5, "likes": 1, "tags": [], "lastModified": "..."}``. Other branches, files that were
replaced and files that wait for their commit lie in ``<root>/.hub/``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_NAMES = re.compile(r".*\.(safetensors|bin|gguf|pt|pth|ckpt|h5|msgpack|onnx)$")
LFS_SIZE = 10_000_000
COMMIT = re.compile(r"[0-9a-f]{40}")
ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
META = ".hub.json"


class Missing(Exception):
    """No such repository, revision or file; the Hub's error code is the argument."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a commit. ``sha256`` is set for what the Hub keeps in LFS; ``oid`` is the git blob id (of the LFS
    pointer for those)."""

    path: str
    size: int
    oid: str
    sha256: str | None
    source: Path

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass
class Repos:
    """Everything under ``root``."""

    root: Path
    _seen: dict[tuple[str, int, int], tuple[str, str | None]] = field(default_factory=dict)
    _commits: dict[tuple[str, str], dict[str, StoredFile]] = field(default_factory=dict)

    def names(self) -> list[str]:
        found = [path for path in self.root.glob("[!.]*/[!.]*") if path.is_dir()]
        return sorted(f"{path.parent.name}/{path.name}" for path in found)

    def meta(self, repo: str) -> dict[str, Any]:
        path = self.folder(repo) / META
        return json.loads(path.read_text()) if path.is_file() else {}

    def set_meta(self, repo: str, **values: Any) -> None:
        (self.folder(repo) / META).write_text(json.dumps(self.meta(repo) | values))

    def folder(self, repo: str, branch: str = "main") -> Path:
        """Where a branch lies. Raises Missing("RepoNotFound")."""
        folder = self.root / repo
        if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", repo) or ".." in repo or not folder.is_dir():
            raise Missing("RepoNotFound")
        if not re.fullmatch(r"[\w./-]+", branch) or ".." in branch:
            raise Missing("RevisionNotFound")
        return folder if branch == "main" else self._state(repo) / "branches" / branch

    def head(self, repo: str, revision: str = "main") -> tuple[str, dict[str, StoredFile]]:
        """The commit a revision stands for and its files. A full commit is found while this server runs."""
        if COMMIT.fullmatch(revision):
            self.head(repo)
            if (repo, revision) not in self._commits:
                raise Missing("RevisionNotFound")
            return revision, self._commits[repo, revision]
        folder = self.folder(repo, revision)
        if not folder.is_dir():
            raise Missing("RevisionNotFound")
        files = {file.path: file for file in self._scan(repo, folder)}
        text = "\n".join([repo, *(f"{path} {files[path].oid}" for path in sorted(files))])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self._commits.setdefault((repo, commit), files)
        return commit, files

    def open_path(self, repo: str, file: StoredFile) -> Path:
        """Where the content of a commit's file is now: in place, or put aside since."""
        aside = self._state(repo) / "objects" / file.etag
        if aside.is_file():
            return aside
        if not file.source.is_file() or self._identify(file.source) != (file.oid, file.sha256):
            raise Missing("EntryNotFound")
        return file.source

    def create(self, repo: str, private: bool) -> None:
        folder = self.root / repo
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text(ATTRIBUTES)
        self.set_meta(repo, private=private)

    def commit(self, repo: str, changes: Mapping[str, bytes | Path | None], branch: str = "main") -> str:
        """Write, move in (Path) or remove (None) files and return the new commit. Earlier commits stay readable."""
        folder = self.folder(repo, branch)
        if branch != "main" and not folder.is_dir():
            shutil.copytree(self.folder(repo), folder)
        _, before = self.head(repo, branch)
        for path, content in changes.items():
            target = folder / path
            if path in before:
                self._put_aside(repo, before[path])
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                shutil.copyfile(content, target)
        return self.head(repo, branch)[0]

    def waiting(self, repo: str, sha256: str) -> Path:
        """Where an LFS upload is kept, before and after its commit."""
        return self._state(repo) / "lfs" / sha256

    def _state(self, repo: str) -> Path:
        return self.root / ".hub" / repo

    def _put_aside(self, repo: str, file: StoredFile) -> None:
        aside = self._state(repo) / "objects" / file.etag
        aside.parent.mkdir(parents=True, exist_ok=True)
        if file.source.is_file():
            shutil.move(file.source, aside)

    def _scan(self, repo: str, folder: Path) -> Iterator[StoredFile]:
        for top, folders, files in os.walk(folder, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if name.startswith(".") and name != ".gitattributes":
                    continue
                source = Path(top) / name
                path = source.relative_to(folder).as_posix()
                oid, sha256 = self._identify(source)
                yield StoredFile(path, source.stat().st_size, oid, sha256, source)

    def _identify(self, source: Path) -> tuple[str, str | None]:
        """Git blob id and, for LFS files, sha256; by name, size and time of the last change."""
        stat = source.stat()
        key = (str(source), stat.st_size, stat.st_mtime_ns)
        if key not in self._seen:
            lfs = LFS_NAMES.fullmatch(source.name) is not None or stat.st_size >= LFS_SIZE
            self._seen[key] = _lfs_identity(source, stat.st_size) if lfs else (git_oid(source.read_bytes()), None)
        return self._seen[key]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _lfs_identity(source: Path, size: int) -> tuple[str, str]:
    with source.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return git_oid(pointer.encode()), sha256
