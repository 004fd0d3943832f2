"""The user's own Hub cache, in the layout of the official tools, so that nothing is fetched twice.

Layout (huggingface.co/docs/huggingface_hub/guides/manage-cache)::

    <cache>/models--owner--name/blobs/<etag>                       content, named by sha256 (LFS) or git blob id
    <cache>/models--owner--name/snapshots/<commit>/<file>          relative symlink to the blob
    <cache>/models--owner--name/refs/<branch>                      the commit a branch stood for
    <cache>/.locks/models--owner--name/<etag>.lock                 held while a blob is written
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.planning.facts import FileFacts
from app.recipe.references import COMMIT, REVISION, is_hub_id

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LOCK_POLL = 0.1
UNFINISHED = ".weightloom.incomplete"
"""How the file of a download on its way ends; it begins with the blob's name."""


def default_cache() -> Path:
    """Where the official tools keep their cache: HF_HUB_CACHE, else ``hub`` in HF_HOME, else in ~/.cache."""
    caches = os.environ.get("XDG_CACHE_HOME", str(Path("~/.cache").expanduser()))
    home = _expanded(os.environ.get("HF_HOME", os.path.join(caches, "huggingface")))  # noqa: PTH118
    older = os.environ.get("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))  # noqa: PTH118
    return Path(_expanded(os.environ.get("HF_HUB_CACHE", older)))


def safe_file_name(name: str) -> bool:
    """Whether a file name from the Hub stays inside its snapshot: relative, no ``..``, nothing unprintable."""
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in parts)


def content_name(file: FileFacts) -> str | None:
    """The name of a file's blob: what the Hub sends as its ETag. None when it named no hash."""
    name = file.sha256 or file.oid
    return name if name and _ETAG.fullmatch(name) else None


class HubCache:
    """Paths in a cache folder, and the few changes that are made there. Nothing is created before it is needed."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_cache()

    def repo(self, repo: str) -> Path:
        """Raises ValueError for a name that would lead elsewhere."""
        if not is_hub_id(repo):
            raise ValueError(f"not a model id: {repo!r}")
        return self.root / "--".join(["models", *repo.split("/")])

    def snapshot(self, repo: str, commit: str) -> Path:
        if not COMMIT.fullmatch(commit):
            raise ValueError(f"not a commit: {commit!r}")
        return self.repo(repo) / "snapshots" / commit

    def pointer(self, repo: str, commit: str, file: str) -> Path:
        if not safe_file_name(file):
            raise ValueError(f"not a file of a model: {file!r}")
        return self.snapshot(repo, commit) / file

    def blob(self, repo: str, file: FileFacts) -> Path:
        """Raises ValueError for a file without a hash."""
        name = content_name(file)
        if name is None:
            raise ValueError(f"no hash is known of {file.name!r}")
        return self.repo(repo) / "blobs" / name

    def find(self, repo: str, commit: str, file: FileFacts) -> Path | None:
        """The file's content on this machine, whole and inside the cache; None if it is not here."""
        candidates = [self.pointer(repo, commit, file.name)]
        if content_name(file) is not None:
            candidates.append(self.blob(repo, file))
        return next((path for path in candidates if self._holds(path, file.size)), None)

    def link(self, repo: str, commit: str, file: FileFacts) -> Path:
        """Make the blob visible in the commit's snapshot and return its place there."""
        pointer = self.pointer(repo, commit, file.name)
        if self._holds(pointer, file.size):
            return pointer
        blob = self.blob(repo, file)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        fresh = pointer.with_name(f".{secrets.token_hex(4)}.link")
        try:
            fresh.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:  # a filesystem without symlinks; the official tools then keep the file here as well
            shutil.copyfile(blob, fresh)
        fresh.replace(pointer)
        return pointer

    def remember(self, repo: str, branch: str, commit: str) -> None:
        """Note which commit a branch stands for, as tools that run offline look it up."""
        if COMMIT.fullmatch(branch) or not REVISION.fullmatch(branch) or not safe_file_name(branch):
            return
        ref = self.repo(repo) / "refs" / branch
        if ref.is_file() and ref.read_text() == commit:
            return
        ref.parent.mkdir(parents=True, exist_ok=True)
        fresh = ref.with_name(f"{ref.name}.{secrets.token_hex(4)}.tmp")
        fresh.write_text(commit)
        fresh.replace(ref)

    def commit_of(self, repo: str, revision: str | None) -> str | None:
        """The commit that a branch (None: main) was noted to stand for, or a commit itself; None if it is not known."""
        if revision is not None and COMMIT.fullmatch(revision):
            return revision
        branch = revision or "main"
        if not REVISION.fullmatch(branch) or not safe_file_name(branch):
            return None
        try:
            commit = (self.repo(repo) / "refs" / branch).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return commit if COMMIT.fullmatch(commit) else None

    def files(self, repo: str, commit: str) -> tuple[FileFacts, ...]:
        """The files of a commit that are here, whole, named by their blobs."""
        folder, found = self.snapshot(repo, commit), []
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if not path.is_file() or not safe_file_name(name):
                continue
            blob, size = path.resolve().name, path.stat().st_size
            known = blob if _ETAG.fullmatch(blob) else ""
            if self._holds(path, size):
                sha256, oid = (known or None, None) if len(known) == 64 else (None, known or None)
                found.append(FileFacts(name, size, sha256, oid))
        return tuple(found)

    @contextmanager
    def lock(self, repo: str, file: FileFacts, check: Callable[[], None]) -> Iterator[None]:
        """Hold the lock under which a blob is written, the same one that the official tools take."""
        from filelock import FileLock, Timeout

        folder = self.root / ".locks" / self.repo(repo).name
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{content_name(file)}.lock", mode=0o664)
        while True:
            check()
            try:
                lock.acquire(timeout=_LOCK_POLL, poll_interval=_LOCK_POLL / 2)
                break
            except Timeout:
                continue
        try:
            yield
        finally:
            lock.release()

    def forget_unfinished(self, older_than: float) -> int:
        """Remove what is left of downloads that nobody went on with for so many seconds. Returns the bytes freed."""
        freed = 0
        for path in self.root.glob(f"models--*/blobs/*{UNFINISHED}"):
            with suppress(OSError):
                found = path.stat()
                if found.st_mtime < time.time() - older_than:
                    path.unlink()
                    freed += found.st_blocks * 512
        return freed

    def free(self) -> int:
        """Bytes free where the cache lies, or will lie."""
        place = next(path for path in [self.root, *self.root.absolute().parents] if path.exists())
        return shutil.disk_usage(place).free

    def _holds(self, path: Path, size: int) -> bool:
        """A regular file of this size that really lies in the cache, whatever links lead to it."""
        try:
            real = path.resolve(strict=True)
            inside = real.is_relative_to(self.root.resolve())
            return inside and real.is_file() and real.stat().st_size == size
        except (OSError, RuntimeError):
            return False


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111
