"""Whatever dies in the middle of a merge: it ends, whole, with the very bytes of an undisturbed one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from app.jobs.models import Job
from tests.support.raw_weights import unet, vocoder, write
from tests.support.waiting import until
from tests.worker.rig import RECIPE, SHORT_LEASE, Rig


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_result_is_cut_into_several_shards(undisturbed: dict[str, str]) -> None:
    assert len([name for name in undisturbed if name.endswith(".safetensors")]) > 3
    assert "model.safetensors.index.json" in undisturbed


@pytest.mark.parametrize("tensor", [1, 33, 75])
def test_process_killed_in_a_shard(steady: Rig, undisturbed: dict[str, str], tensor: int) -> None:
    steady.faults(kills=1, kill_at_tensor=tensor)
    job = steady.submit()
    ended = steady.ended(job)
    assert (ended.state, ended.attempt, ended.crashes) == ("succeeded", 2, 1), steady.told()
    assert steady.weights(job) == undisturbed
    assert steady.left_over() == []
    went_on = any("Going on after" in event.text for event in steady.store.events(job.id))
    assert went_on == (tensor > 1)


def test_process_killed_in_files_with_names_of_their_own(steady: Rig, models: Path) -> None:
    """Weights without a config."""
    for seed in (1, 2):
        write(models / f"raw{seed}" / "unet.safetensors", unet(seed))
        write(models / f"raw{seed}" / "voice.safetensors", vocoder(seed))
    recipe = """
merge_method: linear
parameters: {weight: 1}
models: [{model: 'local:models/raw1'}, {model: 'local:models/raw2'}]
"""
    whole = steady.submit(recipe)
    assert steady.ended(whole).state == "succeeded", steady.told()
    expected = steady.weights(whole)
    assert set(expected) == {"unet.safetensors", "voice.safetensors", "README.md", "mergekit_config.yml"}
    steady.faults(kills=1, kill_at_tensor=len(unet(1)) + 2)
    job = steady.submit(recipe)
    ended = steady.ended(job)
    assert (ended.state, ended.crashes) == ("succeeded", 1), steady.told()
    assert steady.weights(job) == expected


@pytest.mark.parametrize("stage", ["verifying", "finalising"])
def test_process_killed_after_the_weights(steady: Rig, undisturbed: dict[str, str], stage: str) -> None:
    steady.faults(hold=stage)
    job = steady.submit()
    pid = steady.process_at(stage)
    steady.faults()
    os.kill(pid, signal.SIGKILL)
    assert steady.ended(job).state == "succeeded", steady.told()
    assert steady.weights(job) == undisturbed
    assert steady.left_over() == []


def test_the_third_death_ends_it_with_a_hint_and_others_go_on(steady: Rig, undisturbed: dict[str, str]) -> None:
    steady.faults(kills=3, kill_at_tensor=20, safe_first=True)
    job = steady.submit()
    ended = steady.ended(job)
    assert (ended.state, ended.attempt, ended.crashes) == ("failed", 3, 3), steady.told()
    assert ended.error is not None
    assert ended.error[0]["code"] == "worker-died"
    assert "GiB" in ended.error[0]["text"]
    assert steady.ended(steady.submit()).state == "succeeded", steady.told()
    assert steady.store.shards(job.id)
    assert steady.store.retry(job.id) is not None
    assert steady.queue.send(job.id, "merge")
    assert steady.ended(job).state == "succeeded", steady.told()
    assert steady.weights(job) == undisturbed


def test_the_whole_worker_killed(make_rig: Callable[..., Rig]) -> None:
    """The process of the job must not go on without its worker."""
    rig = make_rig(lease_seconds=SHORT_LEASE)
    worker = rig.start_worker("one")
    rig.faults(tensor_seconds=0.05)
    job = rig.submit()
    pid = rig.process_at("tensor")
    worker.kill()
    until(lambda: is_gone(pid))
    rig.faults()
    rig.start_worker("two")
    ended = rig.ended(job)
    assert (ended.state, ended.attempt, ended.worker) == ("succeeded", 2, "two@here"), rig.told()
    assert rig.weights(job)
    assert rig.left_over() == []


def test_sigterm_hands_the_job_back(rig: Rig, undisturbed: dict[str, str]) -> None:
    worker = rig.start_worker("one")
    rig.faults(tensor_seconds=0.05)
    job = rig.submit()
    pid = rig.process_at("tensor")
    until(lambda: rig.store.shards(job.id), what=rig.told)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, rig.told()
    assert is_gone(pid)
    waiting = rig.job(job)
    assert (waiting.state, waiting.attempt, waiting.crashes) == ("queued", 0, 0)
    assert rig.store.workers() == []
    rig.faults()
    rig.start_worker("two")
    assert (rig.ended(job).state, rig.job(job).attempt) == ("succeeded", 1), rig.told()
    assert rig.weights(job) == undisturbed


def test_a_process_that_slept_has_lost_its_job(make_rig: Callable[..., Rig], undisturbed: dict[str, str]) -> None:
    rig = make_rig(lease_seconds=SHORT_LEASE)
    rig.start_worker("one")
    rig.faults(tensor_seconds=0.05)
    job = rig.submit()
    pid = rig.process_at("tensor")
    os.kill(pid, signal.SIGSTOP)
    rig.faults()
    rig.start_worker("two")
    ended = rig.ended(job)
    assert (ended.state, ended.worker, ended.attempt) == ("succeeded", "two@here", 2), rig.told()
    whole, history = rig.weights(job), len(rig.store.events(job.id))
    os.kill(pid, signal.SIGCONT)
    until(lambda: "lost to another worker" in rig.told(), what=rig.told)
    assert whole == undisturbed == rig.weights(job)
    assert rig.left_over() == []
    assert len(rig.store.events(job.id)) == history


def test_fifty_messages_are_one_merge(rig: Rig) -> None:
    rig.start_worker("one")
    rig.start_worker("two")
    job = rig.submit(send=False)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: rig.queue.send(job.id, "merge"), range(50)))
    assert (rig.ended(job).state, rig.job(job).attempt) == ("succeeded", 1), rig.told()
    done = rig.job(job).finished_at
    until(lambda: (rig.queue.waiting("merge") or 0) < 40, what=rig.told)
    assert (rig.job(job).attempt, rig.job(job).finished_at) == (1, done)


def test_a_locked_database_costs_nothing(steady: Rig, undisturbed: dict[str, str]) -> None:
    steady.faults(hold="merging")
    job = steady.submit()
    steady.process_at("merging")
    with steady.engine.connect() as blocker:
        blocker.execute(text("BEGIN IMMEDIATE"))
        time.sleep(2.0)  # the fault itself: nothing to wait for
        blocker.rollback()
    steady.faults()
    assert (steady.ended(job).state, steady.job(job).attempt) == ("succeeded", 1), steady.told()
    assert steady.weights(job) == undisturbed


def test_a_full_disk_fails_cleanly_and_a_retry_goes_through(steady: Rig, undisturbed: dict[str, str]) -> None:
    steady.faults(no_space_after=40)
    job = steady.submit()
    ended = steady.ended(job)
    assert ended.error is not None, steady.told()
    assert (ended.state, ended.error[0]["code"]) == ("failed", "disk-full")
    assert steady.left_over() == []
    assert steady.artifacts.manifest(job.id) is None
    steady.faults()
    steady.store.retry(job.id)
    steady.queue.send(job.id, "merge")
    assert steady.ended(job).state == "succeeded", steady.told()
    assert steady.weights(job) == undisturbed


def test_a_merge_that_stands_still_fails(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(stall_seconds=1.5)
    rig.start_worker()
    rig.faults(deaf="verifying")
    job = rig.submit()
    pid = rig.process_at("verifying")
    ended = rig.ended(job)
    assert ended.error is not None, rig.told()
    assert (ended.state, ended.error[0]["code"]) == ("failed", "stalled")
    until(lambda: is_gone(pid))


def test_a_recipe_that_no_longer_holds_fails_with_its_findings(steady: Rig) -> None:
    job = steady.submit(RECIPE.replace("local:models/two", "local:models/gone"))
    ended = steady.ended(job)
    assert ended.error is not None, steady.told()
    assert (ended.state, ended.error[0]["code"]) == ("failed", "model-not-found")
    assert steady.left_over() == []


def test_what_a_merge_took_is_kept_when_it_went_through_in_one_go(steady: Rig) -> None:
    def took(job: Job) -> dict[str, Any] | None:
        ended = steady.ended(job)
        assert ended.state == "succeeded", steady.told()
        assert ended.result is not None
        return ended.result.get("took")

    def told(job: Job) -> str:
        return next(event.text for event in steady.store.events(job.id) if event.text.startswith("Expected to take"))

    before = steady.store.rates().merging
    job = steady.submit()
    whole = took(job)
    assert ("on this server" in told(job)) == (before is not None)
    assert whole is not None
    assert (whole["method"], whole["fetched"]) == ("linear", 0)
    assert 0 < whole["seconds"] < 120
    steady.faults(kills=1, kill_at_tensor=20)
    job = steady.submit()
    assert took(job) is None, "the second attempt did only the rest"
    after = steady.store.rates().merging
    assert after is not None
    assert "on this server." in told(job)
    assert after.count == (before.count if before else 0) + 1
