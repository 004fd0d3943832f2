"""Fetching parents: only what is needed, side by side, stopped together, checked at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.hub.client import HubClient
from app.library.facts import Library
from app.library.local import LocalRoots
from app.recipe.findings import Refused
from tests.support.hub import StandInHub
from tests.support.quiet import Quiet
from tests.worker.quiet import local, plan_of
from tests.worker.rig import RECIPE
from worker.steps.check import needed
from worker.steps.fetch import fetch


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[StandInHub]:
    with StandInHub(tmp_path_factory.mktemp("hub")) as hub:
        for name in ("one", "two"):
            hub.add(f"org/{name}", {path.name: path.read_bytes() for path in (models / name).iterdir()})
        yield hub


@pytest.fixture
def from_hub(hub: StandInHub, tmp_path: Path) -> Iterator[Library]:
    hub.heal()
    hub.forget()
    library = Library(HubClient(hub.endpoint, tmp_path / "cache"), LocalRoots({}))
    yield library
    library.close()


def test_only_what_the_plan_reads_is_fetched(from_hub: Library, hub: StandInHub, models: Path) -> None:
    plan = plan_of(from_hub, RECIPE.replace("local:models", "org"))
    watch = Quiet()
    folders = fetch(plan, from_hub, watch)
    for folder, name in zip(folders, ("one", "two"), strict=True):
        for path in folder.iterdir():
            assert path.read_bytes() == (models / name / path.name).read_bytes()
        assert list(folder.glob("*.safetensors"))
    assert watch.done == needed(plan).download
    hub.forget()
    again = plan_of(from_hub, RECIPE.replace("local:models", "org"))
    assert fetch(again, from_hub, quiet := Quiet()) == folders
    assert quiet.stages == []
    assert not hub.requests("safetensors")


def test_one_file_that_cannot_be_had_stops_the_others(from_hub: Library, hub: StandInHub) -> None:
    plan = plan_of(from_hub, RECIPE.replace("local:models", "org"))
    hub.fault("status", r"one/resolve/.*model\.safetensors$", times=None, status=404)
    hub.fault("slow", r"two/resolve/.*safetensors$", after=100, times=None)
    with pytest.raises(Refused):
        fetch(plan, from_hub, Quiet())


def test_fetching_stops_when_told(from_hub: Library, hub: StandInHub) -> None:
    plan = plan_of(from_hub, RECIPE.replace("local:models", "org"))
    hub.fault("slow", r"resolve/.*safetensors$", after=100, times=None)
    with pytest.raises(InterruptedError):
        fetch(plan, from_hub, Quiet(stop_at="downloading"))


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: os.truncate(path, 100)])
def test_a_local_file_that_changed_since_is_noticed(models: Path, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    shutil.copytree(models, tmp_path / "m")
    library = local(tmp_path / "m")
    plan = plan_of(library)
    harm(tmp_path / "m" / "one" / "model.safetensors")
    with pytest.raises(Refused) as refused:
        fetch(plan, library, Quiet())
    assert refused.value.findings[0].code == "parent-changed"
    library.close()
