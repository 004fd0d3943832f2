"""A finished folder brought to a repository on the Hub.

The work is done by the official client in a process of its own (``app.hub.uploading``): there its settings can be
given before it is imported, and a cancel takes effect at once, whatever the client is in the middle of.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from app.hub.client import HubClient
from app.hub.transport import nothing
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.references import is_hub_id
from app.settings import PUBLIC_HUB, ROOT

_POLL = 0.1
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE")


@dataclass(frozen=True, slots=True)
class UploadResult:
    """``url`` is the repository's page, ``commit`` the commit (40 hex) that holds the files."""

    url: str
    commit: str


def upload_folder(
    endpoint: str,
    repo: str,
    folder: Path,
    token: str,
    *,
    private: bool = True,
    message: str = "Upload a merge",
    on_progress: Callable[[str, int, int], None] = nothing,
    check: Callable[[], None] = nothing,
) -> UploadResult:
    """Put every file of ``folder`` into the repository ``owner/name`` as one commit, creating it when it is not there.

    An existing repository is taken only when it is empty or holds nothing but files of this very upload, so that a
    second attempt goes on where the first one ended. ``on_progress(file, done, total)`` follows each file that is up,
    in bytes of all files. ``check()`` is called ten times a second and may raise to cancel. Both are called in the
    calling thread; the token goes to the endpoint and nowhere else.

    Raises Refused: ``bad-repository``, ``token-cannot-write``, ``wrong-namespace``, ``repo-exists``, ``bad-card``,
    ``repo-changed``, ``upload-failed``, ``token-refused``, ``hub-unreachable``, ``rate-limited``.
    """
    endpoint = endpoint.rstrip("/")
    if not is_hub_id(repo):
        raise refuse("bad-repository", repo[:120], "This is not a repository of the Hub.", "Write owner/name.")
    check()
    _check_account(endpoint, repo, token)
    order = {
        "endpoint": endpoint, "repo": repo, "folder": str(folder.resolve(strict=True)), "token": token,
        "private": private, "message": message,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "app.hub.uploading"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=ROOT, env=_environment(endpoint),
    )  # fmt: skip
    try:
        return _attend(process, order, on_progress, check)
    finally:
        _end(process)


def _check_account(endpoint: str, repo: str, token: str) -> None:
    hub = HubClient(endpoint)
    try:
        account = hub.whoami(token)
    finally:
        hub.close()
    if not account.can_write:
        raise refuse(
            "token-cannot-write", repo, f"The token of {account.name} may read but not write.",
            "Make a token with write access in your Hub account under Access Tokens.",
        )  # fmt: skip
    owner = repo.split("/")[0]
    if owner.lower() not in (name.lower() for name in account.namespaces):
        raise refuse(
            "wrong-namespace", repo, f"The token belongs to {account.name}, who cannot create {repo}.",
            f"Write {account.name}/{repo.split('/')[1]}, or use a token of {owner}.",
        )  # fmt: skip


def _environment(endpoint: str) -> Mapping[str, str]:
    """The official client's settings: no token but ours, nothing told to others, and Xet for the public Hub only."""
    kept = {name: value for name, value in os.environ.items() if name not in _TOKENS}
    switches = ["HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"]
    if endpoint != PUBLIC_HUB:
        switches.append("HF_HUB_DISABLE_XET")
    return kept | dict.fromkeys(switches, "1") | {"HF_ENDPOINT": endpoint}


def _attend(
    process: subprocess.Popen[str],
    order: Mapping[str, Any],
    on_progress: Callable[[str, int, int], None],
    check: Callable[[], None],
) -> UploadResult:
    """Give the order, pass on what is reported, and return or raise what it comes to."""
    orders, answers = cast(TextIO, process.stdin), cast(TextIO, process.stdout)
    with suppress(BrokenPipeError):
        orders.write(json.dumps(order) + "\n")
        orders.flush()
    reports: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(answers, reports), daemon=True).start()
    while True:
        check()
        try:
            line = reports.get(timeout=_POLL)
        except queue.Empty:
            continue
        if line is None:
            raise refuse(
                "upload-failed", str(order["repo"]), "The upload ended without a word.",
                "Try again; it goes on from there.",
            )  # fmt: skip
        report = json.loads(line)
        if "progress" in report:
            on_progress(*report["progress"])
        elif "refused" in report:
            raise Refused(Finding(**finding) for finding in report["refused"])
        else:
            return UploadResult(**report["result"])


def _listen(stream: TextIO, reports: queue.SimpleQueue[str | None]) -> None:
    with suppress(ValueError):  # closed while it was read
        for line in stream:
            reports.put(line)
    reports.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing is left behind, however it ended."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
