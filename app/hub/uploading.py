"""The process that uploads: takes one order on stdin, reports on stdout line by line as JSON.

Reports are ``{"progress": [file, done, total]}``, and at the end ``{"result": {...}}`` or ``{"refused": [...]}``.
It ends when stdin closes: nobody is waiting any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from yaml import YAMLError

from app.hub.errors import About, trouble_of
from app.hub.transport import Patience, broken, patiently, user_agent
from app.recipe.findings import Refused, refuse

T = TypeVar("T")
CARD = "README.md"
PATIENCE = Patience(attempts=5, first=1, longest=20, silence=120, longest_told=600)
_BORN_WITH = {".gitattributes"}
"""What the Hub itself puts into a new repository."""
_EXISTS, _MOVED_ON = 409, 412


@dataclass(frozen=True, slots=True)
class Order:
    endpoint: str
    repo: str
    folder: str
    token: str
    private: bool
    message: str


class Upload:
    """One order carried out with the official client. ``files``: name in the repository -> path."""

    def __init__(self, order: Order, report: Callable[[dict[str, Any]], None]) -> None:
        self.order, self.report = order, report
        self.about = About(order.endpoint, order.repo, signed=True)
        self.api = HfApi(endpoint=order.endpoint, token=order.token, library_name="weightloom")
        root = Path(order.folder)
        found = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        self.files = {path.relative_to(root).as_posix(): path for path in found}
        self.hashes: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        """Raises Refused."""
        self._check_card()
        if not self._surely(self._create):
            self._check_existing()
        before = self._info().sha
        additions = self._send_files()
        commit = self._surely(partial(self._commit, additions, before))
        after = self._info()
        if not self._holds_all(after):
            raise refuse(
                "repo-changed", self.order.repo, f"{self.order.repo} was changed by somebody else meanwhile.",
                "Look at what it holds now, then upload to a new name.",
            )  # fmt: skip
        return {"url": self.about.page, "commit": commit or str(after.sha)}

    def _check_card(self) -> None:
        """The Hub refuses a commit with a bad card: better known before gigabytes are sent."""
        if CARD in self.files:
            try:
                text = self.files[CARD].read_text(encoding="utf-8")
                self._surely(lambda: ModelCard(text, ignore_metadata_errors=True).validate())
            except (ValueError, YAMLError) as error:
                told = " ".join(str(error).split())[:300]
                raise refuse(
                    "bad-card", CARD, f"The Hub does not accept the model card: {told}", "Correct the lines at its top."
                ) from None

    def _create(self) -> bool:
        """False when it is there already."""
        try:
            self.api.create_repo(self.order.repo, private=self.order.private)
        except HfHubHTTPError as error:
            if error.response.status_code == _EXISTS:
                return False
            raise
        return True

    def _check_existing(self) -> None:
        """Make sure that the repository that is there is ours to fill."""
        info = self._info()
        if self.order.private and not info.private:
            raise self._taken("exists already and is public, but a private one was asked for")
        there = [file for file in info.siblings or [] if file.rfilename not in _BORN_WITH]
        if not all(self._is_ours(file) for file in there):
            raise self._taken("exists already and holds other files")

    def _send_files(self) -> list[CommitOperationAdd]:
        """Large files go up one by one; small ones travel with the commit."""
        sizes = {name: path.stat().st_size for name, path in self.files.items()}
        done = 0
        additions = []
        for name, path in self.files.items():
            addition = CommitOperationAdd(name, path)
            self._surely(partial(self.api.preupload_lfs_files, self.order.repo, [addition]))
            if addition.upload_info.is_hashed:
                self.hashes[name] = addition.upload_info.sha256.hex()
            done += sizes[name]
            additions.append(addition)
            self.report({"progress": [name, done, sum(sizes.values())]})
        return additions

    def _commit(self, additions: list[CommitOperationAdd], before: str | None) -> str | None:
        """The new commit; None when the repository moved on, which may be our own commit whose answer was lost."""
        try:
            done = self.api.create_commit(
                self.order.repo, additions, commit_message=self.order.message, parent_commit=before
            )
        except HfHubHTTPError as error:
            if error.response.status_code == _MOVED_ON:
                return None
            raise
        return str(done.oid)

    def _holds_all(self, info: ModelInfo) -> bool:
        there = {file.rfilename: file for file in info.siblings or []}
        return all(name in there and self._is_ours(there[name]) for name in self.files)

    def _is_ours(self, there: RepoSibling) -> bool:
        """Whether a file of the repository has the content that this upload gives it."""
        name = there.rfilename
        if name not in self.files or self.files[name].stat().st_size != there.size:
            return False
        if there.lfs is None:
            content = self.files[name].read_bytes()
            return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == there.blob_id  # noqa: S324
        if name not in self.hashes:
            with self.files[name].open("rb") as file:
                self.hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return self.hashes[name] == there.lfs.sha256

    def _info(self) -> ModelInfo:
        return self._surely(partial(self.api.model_info, self.order.repo, files_metadata=True))

    def _surely(self, call: Callable[[], T]) -> T:
        """A call that may be repeated, with patience. Raises Refused for what the Hub says."""

        def once() -> T:
            try:
                return call()
            except HfHubHTTPError as error:
                raise trouble_of(error.response.status_code, error.response.headers, self.about) from None
            except httpx2.HTTPError as error:
                raise broken(error, self.about) from None
            except RuntimeError as error:
                # How the client tells of a large file that could not be sent; the reason is its cause.
                reason = error.__cause__
                if isinstance(reason, HfHubHTTPError):
                    raise trouble_of(reason.response.status_code, reason.response.headers, self.about) from None
                if isinstance(reason, httpx2.HTTPError):
                    raise broken(reason, self.about) from None
                raise

        return patiently(once, PATIENCE)

    def _taken(self, what: str) -> Refused:
        return refuse("repo-exists", self.order.repo, f"{self.order.repo} {what}.", "Choose another name.")


def carry_out(order: Order, report: Callable[[dict[str, Any]], None]) -> None:
    """Upload, and report what it comes to; never raises."""
    try:
        report({"result": Upload(order, report).run()})
        return
    except Refused as error:
        refused = error
    except Exception as error:  # noqa: BLE001 (the last resort of a process: told, and without the token)
        told = f"{type(error).__name__}: {error}".replace(order.token, "***")[:500]
        refused = refuse("upload-failed", order.repo, f"The upload failed: {told}", "Try again; it goes on from there.")
    report({"refused": [asdict(finding) for finding in refused.findings]})


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr
    order = Order(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    agent = {"User-Agent": user_agent()}
    set_client_factory(lambda: httpx2.Client(follow_redirects=True, timeout=PATIENCE.silence, headers=agent))
    carry_out(order, lambda report: print(json.dumps(report), file=out, flush=True))


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
