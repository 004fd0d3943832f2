"""Mixtures of experts made by jobs, by the command line, and of models on the Hub."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from app.jobs.models import Job
from app.storage.base import Manifest
from tests.support.quiet import Quiet
from tests.support.waiting import until
from tests.worker.far import Bench
from tests.worker.rig import Rig
from worker.cli import OK, REFUSED, USAGE, main
from worker.experts.making import make_mixture
from worker.steps import remote_file, stream
from worker.steps.checkpoint import Order

RECIPE = """\
base_model: local:models/one
gate_mode: hidden
dtype: bfloat16
experts:
  - source_model: local:models/one
    positive_prompts: ["Write a function", "def main():"]
  - source_model: local:models/two
    positive_prompts: ["Once upon a time"]
    negative_prompts: ["The law says"]
"""


def submit(rig: Rig) -> Job:
    return rig.submit(RECIPE, kind="mixture")


@pytest.fixture(scope="module")
def whole(shared: Rig) -> dict[str, str]:
    """Name and SHA-256 of every file when nothing goes wrong."""
    shared.faults()
    job = shared.ended(submit(shared))
    assert job.state == "succeeded", (job.error, shared.told())
    assert (job.stage, job.tensors_done, job.shards_total > 1) == ("finalising", job.tensors_total, True)
    assert job.parents == ["local:models/one", "local:models/two"]
    assert job.pinned is not None
    assert "source_model: local:models/two" in job.pinned
    assert any("Making the routers of 4 prompts" in event.text for event in shared.store.events(job.id))
    return shared.weights(job)


def test_a_result_is_a_parent_of_a_merge(steady: Rig, whole: dict[str, str]) -> None:
    made = steady.store.list(kind="mixture")[-1]
    text = f"merge_method: passthrough\nmodels: [{{model: local:results/{made.id}}}]\n"
    assert steady.ended(steady.submit(text)).state == "succeeded", steady.told()


@pytest.mark.parametrize("stage", ["routing", "merging"])
def test_a_killed_process_changes_nothing(steady: Rig, whole: dict[str, str], stage: str) -> None:
    steady.faults(hold=stage)
    job = submit(steady)
    pid = steady.process_at(stage)
    steady.faults()
    os.kill(pid, signal.SIGKILL)
    ended = steady.ended(job)
    assert (ended.state, ended.attempt, ended.crashes) == ("succeeded", 2, 1), steady.told()
    assert steady.weights(job) == whole
    assert steady.left_over() == []


def test_a_process_killed_between_files_goes_on_after_them(steady: Rig, whole: dict[str, str]) -> None:
    steady.faults(kills=1, kill_at_tensor=100)
    job = steady.ended(submit(steady))
    assert (job.state, job.attempt) == ("succeeded", 2), steady.told()
    assert steady.weights(job) == whole
    told = [event.text for event in steady.store.events(job.id)]
    assert "The routers were made by an earlier attempt." in told
    assert any(text.startswith("Going on after") for text in told)


def test_a_cancelled_job_leaves_nothing(steady: Rig) -> None:
    steady.faults(hold="routing")
    job = submit(steady)
    steady.process_at("routing")
    assert steady.store.request_cancel(job.id) is not None
    assert steady.ended(job).state == "cancelled"
    until(lambda: not (steady.settings.work / job.id).exists(), what=steady.told)
    assert not (steady.settings.artifacts / job.id).exists()


@pytest.fixture
def home(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("one", "two"):
        shutil.copytree(models / name, tmp_path / name)
    (tmp_path / "moe.yml").write_text(RECIPE.replace("local:models/", ""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WEIGHTLOOM_DATA", str(tmp_path / "data"))
    return tmp_path


def test_the_command_makes_a_mixture(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["moe", "moe.yml", "out", "--threads", "1", "--json"]) == OK
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] > 3_000_000
    assert json.loads((home / "out" / "config.json").read_text())["num_local_experts"] == 2
    assert str(home) not in (home / "out" / "mergekit_moe_config.yml").read_text()
    assert sorted(path.name for path in home.iterdir() if path.name.startswith("out")) == ["out"]
    assert main(["moe", "moe.yml", "out"]) == REFUSED


def test_commands_tell_which_one_is_meant(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "merge.yml").write_text("merge_method: linear\nmodels: [{model: one}]\n")
    assert main(["merge", "moe.yml", "out"]) == USAGE
    assert "weightloom moe makes it" in capsys.readouterr().err
    assert main(["convert", "moe.yml"]) == REFUSED
    assert "weightloom moe makes it" in capsys.readouterr().err
    assert main(["moe", "merge.yml", "out"]) == USAGE
    assert "Call weightloom merge" in capsys.readouterr().err
    assert main(["check", "moe.yml"]) == OK
    told = capsys.readouterr().out
    assert "weightloom moe makes it" in told
    assert "parameters:" in told
    (home / "bad.yml").write_text("base_model: one\nexperts: [{source_model: ./nobody, positive_prompts: [a]}]\n")
    assert main(["check", "bad.yml"]) == REFUSED
    assert main(["moe", "bad.yml", "out"]) == REFUSED
    assert "./nobody" in capsys.readouterr().err


def make(bench: Bench, name: str, *, streamed: bool) -> Manifest:
    text = RECIPE.replace("local:models", "org")
    order = Order(text, bench.folder / f"{name}.work", bench.folder / name, "t", stream=streamed, threads=3)
    bench.watch = Quiet()
    return make_mixture(order, bench.library, bench.watch)


def test_parents_on_the_hub_are_streamed_or_fetched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (remote_file, stream):
        monkeypatch.setattr(module, "PART", 100_000)
    monkeypatch.setattr(stream, "AHEAD", 5)
    one = make(bench, "streamed", streamed=True)
    assert bench.stored() == []
    other = make(bench, "fetched", streamed=False)
    assert bench.stored()
    assert one == other
    commits = [parent["commit"] for parent in one.about["parents"]]
    assert (bench.folder / "cache" / "models--org--one" / "refs" / "main").read_text() == commits[0]
    assert all(
        f"org/{name}@{commit}" in one.about["recipe"] for name, commit in zip(("one", "two"), commits, strict=True)
    )
