"""A stand-in for the Hugging Face Hub on a loopback port, serving a tree of folders.

In tests: ``with StandInHub(folder) as hub: ... hub.endpoint``. For a browser or by hand:
``python -m tests.support.hub --root FOLDER --port 8400 --token hf_abc=alice:write``.
What it serves, and how to describe a repository, is told in ``hub_repos``; what can go wrong in ``hub_faults``.
The official client works against it when Xet is off, as it must be for every endpoint but the public Hub.
"""

from __future__ import annotations

import argparse
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support import hub_reading, hub_writing
from tests.support.hub_faults import Fault, Faults, Kind, Seen
from tests.support.hub_repos import Repos
from tests.support.hub_state import State, User
from tests.support.waiting import until


def hub_app(state: State) -> Starlette:
    """The route table. A model is ``owner/name`` everywhere."""
    model = "/api/models/{owner}/{name}"
    table: list[tuple[str, str, Callable[..., Any]]] = [
        ("GET", "/api/whoami-v2", hub_reading.whoami),
        ("GET", "/api/models", hub_reading.search),
        ("GET", model, hub_reading.info),
        ("GET", model + "/revision/{revision:path}", hub_reading.info),
        ("GET", model + "/tree/{revision}", hub_reading.tree),
        ("POST", "/api/validate-yaml", hub_writing.validate_yaml),
        ("POST", "/api/repos/create", hub_writing.create_repo),
        ("POST", model + "/preupload/{revision}", hub_writing.preupload),
        ("POST", model + "/commit/{revision}", hub_writing.commit),
        ("POST", "/{owner}/{name}.git/info/lfs/objects/batch", hub_writing.lfs_batch),
        ("PUT", "/lfs/{owner}/{name}/{oid}", hub_writing.lfs_put),
        ("GET", "/cdn/{owner}/{name}/{commit}/{path:path}", hub_reading.from_cdn),
        ("GET", "/{owner}/{name}/resolve/{revision}/{path:path}", hub_reading.resolve),
    ]
    routes = [Route(path, handler, methods=[method]) for method, path, handler in table]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _failure})
    app.state.hub = state
    return app


def _failure(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class StandInHub:
    """The server in a thread. ``seen`` is its log; ``fault`` scripts what goes wrong next."""

    def __init__(
        self, root: Path, *, port: int = 0, tokens: Mapping[str, User] | None = None, cdn: bool = False
    ) -> None:
        self.repos = Repos(root)
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        elsewhere = f"http://localhost:{self.port}" if cdn else None
        self.state = State(self.repos, dict(tokens or {}), self.endpoint, elsewhere)
        self._faults = Faults(hub_app(self.state))
        config = uvicorn.Config(
            self._faults, log_config=None, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive())
        assert self._server.started, "the stand-in Hub did not start"
        return self

    def __exit__(self, *error: object) -> None:
        self._faults.close()
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    @property
    def seen(self) -> list[Seen]:
        return list(self._faults.seen)

    @property
    def sent(self) -> int:
        """Bytes of body that went out in all."""
        return sum(entry.sent for entry in self.seen)

    def requests(self, text: str, method: str | None = None) -> list[Seen]:
        """The logged requests whose address contains ``text``."""
        return [entry for entry in self.seen if text in entry.url and method in (None, entry.method)]

    def forget(self) -> None:
        self._faults.seen.clear()

    def start_over(self, root: Path, tokens: Mapping[str, User]) -> None:
        """Serve another folder, as if newly started: starting takes longer than most tests."""
        self.repos = self.state.repos = Repos(root)
        self.state.tokens = dict(tokens)
        self.heal()
        self.forget()

    def fault(self, kind: Kind, path: str = "", **how: Any) -> Fault:
        """Script one fault (see ``Fault``); faults are tried in the order given."""
        fault = Fault(kind, path, **how)
        self._faults.script.append(fault)
        return fault

    def heal(self) -> None:
        self._faults.script.clear()

    def add(self, repo: str, files: Mapping[str, bytes | str], **meta: Any) -> str:
        """Write files into a repository, new or not, and return its commit."""
        folder = self.repos.root / repo
        folder.mkdir(parents=True, exist_ok=True)
        changes = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
        commit = self.repos.commit(repo, changes)
        if meta:
            self.repos.set_meta(repo, **meta)
        return commit

    def commit_of(self, repo: str, revision: str = "main") -> str:
        return self.repos.head(repo, revision)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder tree as a Hugging Face Hub.")
    parser.add_argument("--root", type=Path, required=True, help="holds owner/name/ folders")
    parser.add_argument("--port", type=int, default=8400)
    parser.add_argument("--token", action="append", default=[], metavar="TOKEN=USER[:ROLE]")
    parser.add_argument("--cdn", action="store_true", help="answer LFS files by a redirect to another host name")
    given = parser.parse_args()
    tokens = {}
    for pair in given.token:
        token, _, user = pair.partition("=")
        name, _, role = user.partition(":")
        tokens[token] = User(name, role or "write")
    with StandInHub(given.root, port=given.port, tokens=tokens, cdn=given.cdn) as hub:
        print(hub.endpoint, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
