"""The steps one by one: room, checking, what decides the bytes, reading back, publishing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from app.library.facts import Library
from app.planning.plan import Plan
from app.recipe.findings import Refused
from app.storage.local import LocalArtifacts, read_manifest
from tests.support.quiet import Quiet
from tests.worker.quiet import local, plan_of
from tests.worker.rig import RECIPE
from worker.engine.execute import Written
from worker.steps.check import MARGIN_BYTES, check, make_room, needed
from worker.steps.checkpoint import Order, make_checkpoint
from worker.steps.fetch import fetch
from worker.steps.merge import plan_key
from worker.steps.publish import publish
from worker.steps.verify import verify


class Usage(NamedTuple):
    total: int
    used: int
    free: int


ID = "0123456789abcdef" * 2


def order(folder: Path, recipe: str = RECIPE) -> Order:
    return Order(recipe, folder / "work" / ID, folder / "artifacts" / ID, title="A test")


# Room


def test_room_is_asked_for_before_anything_is_written(library: Library, tmp_path: Path, monkeypatch) -> None:
    plan = plan_of(library)
    assert needed(plan).download == 0
    need = plan.output_bytes + plan.output_bytes // 20 + MARGIN_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, need - 1))
    with pytest.raises(Refused) as refused:
        make_checkpoint(order(tmp_path), library, Quiet())
    finding = refused.value.findings[0]
    assert finding.code == "disk-full"
    assert f"{round(need / 1e6)} MB are needed" in finding.text
    assert not (tmp_path / "artifacts").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, need))
    make_room(plan, tmp_path, tmp_path, 0, Quiet())


def test_what_running_jobs_will_take_is_told(library: Library, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 300 * 10**6))
    with pytest.raises(Refused, match="of which running jobs will take 200 MB"):
        make_room(plan_of(library), tmp_path, tmp_path, 0, Quiet(taken=200 * 10**6))


def test_what_an_earlier_attempt_left_counts(library: Library, tmp_path: Path, monkeypatch) -> None:
    plan = plan_of(library)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, MARGIN_BYTES))
    make_room(plan, tmp_path, tmp_path, plan.output_bytes, Quiet())


# Checking


def test_a_recipe_with_errors_is_refused_with_all_of_them(library: Library) -> None:
    with pytest.raises(Refused) as refused:
        check(RECIPE.replace("one", "gone").replace("two", "lost"), library, seed=None, token=None)
    assert len(refused.value.findings) >= 2
    assert all(finding.level == "error" for finding in refused.value.findings)


# What decides the bytes


def test_the_key_of_a_plan_changes_with_whatever_changes_the_bytes(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path / "m")
    library = local(tmp_path / "m")

    def key(recipe: str = RECIPE, seed: int | None = None) -> str:
        plan = plan_of(library, recipe, seed)
        return plan_key(plan, fetch(plan, library, Quiet()))

    first = key()
    assert key() == first
    others = {key(RECIPE.replace("0.75", "0.5")), key(seed=7), key(RECIPE.replace("bfloat16", "float32"))}
    os.utime(tmp_path / "m" / "two" / "model-00002-of-00003.safetensors", ns=(1, 1))
    others.add(key())
    assert len(others | {first}) == 5
    library.close()


# Reading back


@pytest.fixture
def made(library: Library, tmp_path: Path) -> tuple[Plan, Path]:
    """A whole result, as it is before it is read back."""
    watch = Quiet()
    make_checkpoint(order(tmp_path), library, watch)
    return watch.plan, tmp_path / "artifacts" / ID


def test_a_good_result_passes(made: tuple[Plan, Path]) -> None:
    verify(*made, Quiet())


def flip_header(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        raw = file.read(8000)
        file.seek(0)
        file.write(raw.replace(b"BF16", b"F16 ", 1))


def lie_about_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 7}))


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: os.truncate(folder / "model.safetensors", 1000),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: (folder / "config.json").unlink(),
        flip_header,
        lie_about_layers,
    ],
)
def test_a_bad_result_does_not(made: tuple[Plan, Path], harm: Callable[[Path], None]) -> None:
    plan, folder = made
    harm(folder)
    with pytest.raises(Refused):
        verify(plan, folder, Quiet())


# Publishing


def test_the_result_tells_how_it_was_made(made: tuple[Plan, Path]) -> None:
    plan, folder = made
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.about["recipe"] == (folder / "mergekit_config.yml").read_text()
    assert manifest.about["seed"] == plan.seed
    assert {"README.md", "config.json", "mergekit_config.yml", "model.safetensors", "tokenizer.json"} <= {
        file.name for file in manifest.files
    }


def test_two_runs_give_the_same_manifest(library: Library, tmp_path: Path) -> None:
    first = make_checkpoint(order(tmp_path / "a"), library, Quiet())
    second = make_checkpoint(order(tmp_path / "b"), library, Quiet())
    assert first == second


@pytest.mark.parametrize("stage", ["merging", "verifying", "finalising"])
def test_stopped_at_a_stage_nothing_is_published(library: Library, tmp_path: Path, stage: str) -> None:
    with pytest.raises(InterruptedError):
        make_checkpoint(order(tmp_path), library, Quiet(stop_at=stage))
    assert LocalArtifacts(tmp_path / "artifacts").ids() == []
    make_checkpoint(order(tmp_path), library, Quiet())
    assert LocalArtifacts(tmp_path / "artifacts").ids() == [ID]
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_every_failing_call_leaves_all_or_nothing(library: Library, tmp_path: Path, monkeypatch, call: str) -> None:
    """The n-th fsync or rename fails, for every n: the result is whole or absent, and the next attempt succeeds."""
    real, seen = getattr(os, call), 0

    def failing(*args: object, **named: object) -> object:
        nonlocal seen
        seen += 1
        if seen == victim:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*args, **named)

    monkeypatch.setattr(os, call, failing)
    victim, whole = 1, False
    while not whole:
        seen = 0
        home = tmp_path / str(victim)
        try:
            make_checkpoint(order(home), library, Quiet())
            whole = seen < victim
        except OSError as problem:
            assert problem.errno == errno.EIO
        published = LocalArtifacts(home / "artifacts").manifest(ID)
        if published is not None:
            assert all((home / "artifacts" / ID / file.name).stat().st_size == file.size for file in published.files)
        attempt, victim = victim, 0
        assert make_checkpoint(order(home), library, Quiet()).size > 0
        victim = attempt + 1
    assert victim >= 3  # the calls were really met


def test_a_finished_checkpoint_is_never_replaced(tmp_path: Path) -> None:
    for content in ("first", "second"):
        work = tmp_path / "work"
        work.mkdir()
        (work / "stranger").write_text("x")
        (work / "weights").write_text(content)
        publish(work, tmp_path / "final", [Written("weights", len(content), content)], {})
        assert not work.exists()
    assert (tmp_path / "final" / "weights").read_text() == "first"
    assert sorted(path.name for path in (tmp_path / "final").iterdir()) == ["MANIFEST.json", "weights"]
