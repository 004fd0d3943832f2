"""Uploads: the whole checkpoint arrives, cancelling works, and the token is seen by nobody but the Hub."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.accounts.vault import Vault
from app.db import sessions
from app.jobs.models import Job
from app.recipe.findings import Refused
from tests.support.hub import StandInHub
from tests.support.hub_state import User
from tests.support.waiting import until
from tests.worker.rig import Rig

CANARY = "hf_CANARYabcdefghijklmnopqrstuvwxyz1234"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    (tmp_path / "hub").mkdir()
    with StandInHub(tmp_path / "hub", tokens={CANARY: User("alice")}) as hub:
        yield hub


@pytest.fixture
def rig(make_rig: Callable[..., Rig], hub: StandInHub) -> Rig:
    return make_rig(hub_endpoint=hub.endpoint)


class Monitor:
    """Everything that is said to Redis, as Redis itself reports it."""

    def __init__(self, rig: Rig) -> None:
        self.heard = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(rig.redis.socket))
        self._socket.sendall(b"MONITOR\r\n")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while piece := self._socket.recv(65536):
                self.heard += piece
        except OSError:
            return

    def close(self) -> bytes:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        return self.heard


def merged(rig: Rig) -> Job:
    job = rig.submit()
    assert rig.ended(job).state == "succeeded", rig.told()
    return job


def upload(rig: Rig, source: Job, token: str, repo: str = "alice/merge") -> Job:
    vault = Vault(rig.settings, sessions(rig.engine))
    return rig.submit(
        "", kind="upload", source_job=source.id, token_id=vault.put(token), params={"repo": repo, "private": True}
    )


def places(rig: Rig) -> Iterator[tuple[str, bytes]]:
    """Every byte that is kept."""
    for path in rig.folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    with rig.redis.client() as client:
        for key in client.keys("*"):
            yield f"Redis {key!r}", client.dump(key) or b""
    for job in rig.store.list():
        yield f"job {job.id}", repr([vars(job), [vars(event) for event in rig.store.events(job.id)]]).encode()


def test_the_checkpoint_arrives_and_the_token_is_nowhere(rig: Rig, hub: StandInHub) -> None:
    monitor = Monitor(rig)
    worker = rig.start_worker()
    source = merged(rig)
    job = upload(rig, source, CANARY)
    ended = rig.ended(job)
    assert ended.state == "succeeded", (ended.error, rig.told())
    assert ended.result is not None
    assert ended.result["commit"] == hub.commit_of("alice/merge")
    assert ended.result["url"].endswith("/alice/merge")
    assert ended.bytes_done == ended.bytes_total > 0

    _, files = hub.repos.head("alice/merge")
    arrived = {name: hub.repos.open_path("alice/merge", file).read_bytes() for name, file in files.items()}
    folder = rig.settings.artifacts / source.id
    for path in folder.iterdir():
        assert arrived[path.name] == path.read_bytes()
    assert hub.repos.meta("alice/merge")["private"] is True
    assert b"base_model" in arrived["README.md"] or b"tags:" in arrived["README.md"]

    worker.terminate()
    worker.wait(120)
    heard = monitor.close()
    assert job.id.encode() in heard  # it listened
    assert CANARY.encode() not in heard
    for place, content in places(rig):
        assert CANARY.encode() not in content, place
    with pytest.raises(Refused, match="no longer kept"):
        Vault(rig.settings, sessions(rig.engine)).get(job.token_id or "")


def test_a_refused_token_is_told_of_without_telling_it(rig: Rig) -> None:
    wrong = CANARY.replace("CANARY", "STRANGER")
    rig.start_worker()
    job = upload(rig, merged(rig), wrong)
    ended = rig.ended(job)
    assert ended.error is not None, rig.told()
    assert (ended.state, ended.error[0]["code"]) == ("failed", "token-refused")
    for place, content in places(rig):
        assert wrong.encode() not in content, place


def test_cancelled_while_it_uploads(rig: Rig, hub: StandInHub) -> None:
    rig.start_worker()
    source = merged(rig)
    hub.fault("hang", r"/lfs/", method="PUT", times=None)
    job = upload(rig, source, CANARY)
    until(lambda: hub.requests("/lfs/", "PUT"), what=rig.told)
    assert rig.store.request_cancel(job.id) is not None
    assert rig.ended(job).state == "cancelled", rig.told()
    assert rig.weights(source)  # the merge itself stays
    with pytest.raises(Refused):
        Vault(rig.settings, sessions(rig.engine)).get(job.token_id or "")
    hub.heal()
    again = upload(rig, source, CANARY)
    assert rig.ended(again).state == "succeeded", (rig.job(again).error, rig.told())
