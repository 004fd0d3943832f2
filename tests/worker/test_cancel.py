"""Cancelling works at every stage, while it lasts for ever, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.jobs.models import Job
from tests.support.hub import StandInHub
from tests.support.waiting import until
from tests.worker.rig import RECIPE, Rig


def cancel(rig: Rig, job: Job) -> Job:
    assert rig.store.request_cancel(job.id) is not None
    ended = rig.ended(job)
    assert ended.state == "cancelled", rig.told()
    until(lambda: not (rig.settings.work / job.id).exists(), what=rig.told)
    assert rig.artifacts.manifest(job.id) is None
    assert not (rig.settings.artifacts / job.id).exists()
    assert ended.disk_bytes == 0
    assert rig.store.events(job.id)[-1].data == {"state": "cancelled"}
    return ended


def test_while_it_waits(steady: Rig) -> None:
    steady.faults(hold="merging")
    first, second = steady.submit(), steady.submit()
    steady.process_at("merging")
    assert cancel(steady, second).started_at is None
    steady.faults()
    assert steady.ended(first).state == "succeeded", steady.told()
    assert steady.job(second).state == "cancelled"


@pytest.mark.parametrize("stage", ["checking", "verifying", "finalising"])
def test_at_a_stage(steady: Rig, stage: str) -> None:
    steady.faults(hold=stage)
    job = steady.submit()
    steady.process_at(stage)
    cancel(steady, job)


def test_in_the_middle_of_the_weights(steady: Rig) -> None:
    steady.faults(tensor_seconds=0.3)
    job = steady.submit()
    steady.process_at("tensor")
    assert steady.left_over()
    cancel(steady, job)


def test_a_process_that_does_not_listen_is_ended(steady: Rig) -> None:
    steady.faults(deaf="verifying")
    job = steady.submit()
    pid = steady.process_at("verifying")
    cancel(steady, job)
    assert not psutil.pid_exists(pid)


@pytest.fixture
def hub(tmp_path: Path, models: Path) -> Iterator[StandInHub]:
    with StandInHub(tmp_path / "hub") as hub:
        for name in ("one", "two"):
            hub.add(f"org/{name}", {path.name: path.read_bytes() for path in (models / name).iterdir()})
        yield hub


def test_while_it_downloads(make_rig, hub: StandInHub) -> None:
    rig = make_rig(hub_endpoint=hub.endpoint)
    rig.start_worker()
    hub.fault("slow", r"resolve/.*safetensors$", after=2000, times=None)
    job = rig.submit(RECIPE.replace("local:models", "org"))
    until(lambda: rig.job(job).stage == "downloading" and rig.job(job).bytes_done > 0, what=rig.told)
    progress = rig.job(job)
    assert 0 < progress.bytes_done < progress.bytes_total
    cancel(rig, job)

    hub.heal()
    hub.forget()
    again = rig.submit(RECIPE.replace("local:models", "org"))
    ended = rig.ended(again)
    assert ended.state == "succeeded", rig.told()
    commits = [f"org/{name}@{hub.commit_of(f'org/{name}')}" for name in ("one", "two")]
    assert ended.parents == commits
    assert all(f"model: {pinned}" in (ended.pinned or "") for pinned in commits)
    assert rig.weights(again)
