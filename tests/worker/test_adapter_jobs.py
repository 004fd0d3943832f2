"""Adapters made by jobs: the bytes of the command line, whatever happens on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from app.adapting.wanted import read_extract, read_merge
from app.jobs.models import Job
from tests.support.adapters import factors, write_adapter
from tests.support.waiting import until
from tests.worker.rig import Rig
from worker.cli import OK, main

NAMES = ("local:models/lora/one", "local:models/lora/two")
HOW: dict[str, Any] = {"weights": [1.0, 0.5], "method": "dare_ties", "rank": 4, "seed": 3}


@pytest.fixture(scope="module", autouse=True)
def adapters(models: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        tensors = {}
        for layer in range(4):
            tensors |= factors(f"model.layers.{layer}.self_attn.q_proj", 128, 128, 3, seed)
        write_adapter(models / "lora" / name, tensors, r=3, lora_alpha=6, base_model_name_or_path="o/base")


def submit(rig: Rig, names: tuple[str, ...] = NAMES, **values: Any) -> Job:
    return rig.submit("", kind="merge-adapters", params=read_merge(names, **HOW).as_params(), **values)


def by_hand(rig: Rig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the command line makes of the same."""
    monkeypatch.setenv("WEIGHTLOOM_MODEL_ROOTS", f"models={rig.settings.model_roots['models']}")
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))
    words = ["--weights", "1,0.5", "--method", "dare_ties", "--rank", "4", "--seed", "3"]
    assert main(["merge-adapters", *NAMES, str(folder / "A test"), *words]) == OK
    return {path.name: path.read_bytes() for path in (folder / "A test").iterdir() if path.name != "MANIFEST.json"}


def made(rig: Rig, job: Job) -> dict[str, bytes]:
    return {name: (rig.settings.artifacts / job.id / name).read_bytes() for name in rig.weights(job)}


def test_a_job_gives_the_bytes_of_the_command_line(
    steady: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = steady.ended(submit(steady))
    assert job.state == "succeeded", (job.error, steady.told())
    assert made(steady, job) == by_hand(steady, tmp_path, monkeypatch)
    assert job.result == {"bytes": sum(map(len, made(steady, job).values())), "files": 3}
    assert (job.stage, job.tensors_done, job.tensors_total) == ("finalising", 4, 4)
    log = [event.text for event in steady.store.events(job.id)]
    assert "4 modules of rank 4." in log
    assert any("% is kept in" in text for text in log)
    assert steady.left_over() == []


def test_a_result_is_a_parent_of_the_next_merge(steady: Rig) -> None:
    made = steady.ended(submit(steady))
    parent = f"local:models/one+local:results/{made.id}"
    recipe = f"merge_method: passthrough\nmodels: [{{model: {parent}}}]\n"
    merged = steady.ended(steady.submit(recipe))
    assert merged.state == "succeeded", (merged.error, steady.told())
    assert merged.parents == [parent]
    recipe = f"merge_method: linear\nmodels: [{{model: local:results/{merged.id}, parameters: {{weight: 1}}}}]\n"
    again = steady.ended(steady.submit(recipe))
    assert again.state == "succeeded", (again.error, steady.told())


@pytest.mark.parametrize("stage", ["merging", "finalising"])
def test_a_killed_process_changes_nothing(
    steady: Rig, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady.faults(hold=stage)
    job = submit(steady)
    pid = steady.process_at(stage)
    steady.faults()
    os.kill(pid, signal.SIGKILL)
    ended = steady.ended(job)
    assert (ended.state, ended.attempt, ended.crashes) == ("succeeded", 2, 1), steady.told()
    assert made(steady, job) == by_hand(steady, tmp_path, monkeypatch)
    assert steady.left_over() == []


def test_a_cancelled_job_leaves_nothing(steady: Rig) -> None:
    steady.faults(hold="merging")
    job = submit(steady)
    steady.process_at("merging")
    assert steady.store.request_cancel(job.id) is not None
    assert steady.ended(job).state == "cancelled"
    until(lambda: not (steady.settings.work / job.id).exists(), what=steady.told)
    assert not (steady.settings.artifacts / job.id).exists()


def test_what_stands_in_the_way_is_told_and_the_job_can_be_tried_again(steady: Rig, models: Path) -> None:
    late = models / "lora" / "late"
    job = steady.ended(submit(steady, (NAMES[0], "local:models/lora/late")))
    assert job.state == "failed"
    assert job.error is not None
    assert [one["code"] for one in job.error] == ["model-not-found"]
    write_adapter(late, factors("model.layers.0.self_attn.q_proj", 128, 128, 3, 9), r=3)
    again = steady.store.retry(job.id)
    assert again is not None
    assert steady.queue.send(again.id, again.kind)
    assert steady.ended(again).state == "succeeded", steady.told()


def test_an_adapter_is_extracted_as_on_the_command_line(
    steady: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, wish = ("local:models/two", "local:models/one"), {"rank": 4, "modules": ["q_proj"], "whole": False}
    params = read_extract(*names, **wish).as_params()
    steady.faults(hold="extracting")
    job = steady.submit("", kind="extract-lora", params=params)
    pid = steady.process_at("extracting")
    steady.faults()
    os.kill(pid, signal.SIGKILL)
    ended = steady.ended(job)
    assert (ended.state, ended.attempt, ended.stage) == ("succeeded", 2, "finalising"), steady.told()
    assert (ended.tensors_done, ended.tensors_total) == (8, 8)
    assert ended.bytes_done == ended.bytes_total
    assert any("Kept of a module's change" in event.text for event in steady.store.events(job.id))
    monkeypatch.setenv("WEIGHTLOOM_MODEL_ROOTS", f"models={steady.settings.model_roots['models']}")
    words = ["--rank", "4", "--modules", "q_proj", "--no-whole"]
    assert main(["extract-lora", *names, str(tmp_path / "A test"), *words]) == OK
    by_hand = {path.name: path.read_bytes() for path in (tmp_path / "A test").iterdir() if path.name != "MANIFEST.json"}
    assert made(steady, job) == by_hand
    assert steady.left_over() == []
