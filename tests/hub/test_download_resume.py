"""Downloads that are cancelled, killed or shared between processes go on where they ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.hub import partial
from app.hub.transport import FETCHING
from tests.hub.served_model import BIG, NAME, REPO, ServedModel, Stop
from tests.support.hub import StandInHub
from tests.support.waiting import until


def test_a_cancel_keeps_what_came(model: ServedModel, hub: StandInHub) -> None:
    hub.fault("stall", NAME, after=500_000, times=None)
    with pytest.raises(Stop):
        model.fetch(check=model.after(500_000))
    assert not model.pointer.exists()
    came = sum(model.told)
    hub.heal()
    hub.forget()
    model.fetch_whole()
    assert model.told[0] == came
    assert hub.sent == len(BIG) - came


def test_a_cancel_does_not_wait_for_the_hub(single: ServedModel, hub: StandInHub) -> None:
    single.client.fetching = replace(FETCHING, silence=3600)
    hub.fault("stall", NAME, after=10)
    with pytest.raises(Stop):
        single.fetch(check=single.after(10))


def test_check_is_called_all_the_time(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("slow", NAME, after=30_000)
    came: list[int] = []
    single.fetch(check=lambda: came.append(sum(single.told)))
    assert len(came) > 10


CHILD = """
import sys
from pathlib import Path
from app.hub.client import HubClient
from app.hub import partial
endpoint, cache, repo, commit, name, whole = sys.argv[1:]
partial.WHOLE = int(whole)
client = HubClient(endpoint, Path(cache))
(file,) = [file for file in client.info(repo, commit).files if file.name == name]
print("begin", flush=True)
print(client.download(repo, commit, file), flush=True)
"""


def child(model: ServedModel, whole: int = 32 << 20) -> subprocess.Popen[str]:
    arguments = [model.hub.endpoint, str(model.cache), REPO, model.commit, model.file.name, str(whole)]
    process = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


@pytest.mark.parametrize("whole", [32 << 20, 1000])
def test_another_process_goes_on_after_a_kill(
    make: Callable[..., ServedModel], hub: StandInHub, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(partial, "WHOLE", whole)
    model = make()
    hub.fault("slow", NAME, after=20_000, times=None)
    process = child(model, whole)
    until(lambda: hub.sent > 1_000_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    until(lambda: all(entry.status for entry in hub.seen))
    assert not model.pointer.exists()
    hub.heal()
    hub.forget()
    model.fetch_whole()
    assert model.told[0] > 500_000
    assert hub.sent == len(BIG) - model.told[0]


def test_two_processes_fetch_a_file_once(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("slow", NAME, after=60_000, times=None)
    processes = [child(single), child(single)]
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == f"{single.pointer}\n"
    assert single.pointer.read_bytes() == BIG
    assert sum(entry.sent for entry in hub.requests(NAME)) == len(BIG)


def test_waiting_for_another_process_can_be_cancelled(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("stall", NAME, after=10, times=None)
    process = child(single)
    until(lambda: bool(hub.requests(NAME)))
    with pytest.raises(Stop):
        calls = iter(range(100))
        single.fetch(check=lambda: _stop_at(next(calls), 5))
    assert len(hub.requests(NAME)) == 1
    process.kill()
    process.communicate()


def _stop_at(call: int, last: int) -> None:
    if call == last:
        raise Stop


@pytest.mark.parametrize("damage", ["other-size", "boastful", "wrong-bytes", "complete-but-wrong"])
def test_a_damaged_partial_file_is_not_trusted(single: ServedModel, hub: StandInHub, damage: str) -> None:
    assert single.file.sha256 is not None
    path = single.cache / "models--alice--model" / "blobs" / f"{single.file.sha256}.weightloom.incomplete"
    path.parent.mkdir(parents=True)
    half = (len(BIG) // 2).to_bytes(8, "little")
    path.write_bytes(
        {
            "other-size": b"x" * 100,
            "boastful": bytes(len(BIG)) + (len(BIG) + 1).to_bytes(8, "little"),
            "wrong-bytes": bytes(len(BIG)) + half,
            "complete-but-wrong": bytes(len(BIG)) + len(BIG).to_bytes(8, "little"),
        }[damage]
    )
    single.fetch_whole()
