"""Rigs of real workers, and what an undisturbed merge gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.library.facts import Library
from app.storage.base import Manifest
from tests.support.hub import StandInHub
from tests.worker.far import RECIPES, Bench, served
from tests.worker.quiet import local
from tests.worker.rig import Rig, make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Rig]:
    """A rig with one worker, which survives whatever is done to the processes of its jobs."""
    rig = Rig(tmp_path_factory.mktemp("shared"), models)
    rig.start_worker()
    yield rig
    rig.close()


@pytest.fixture
def steady(shared: Rig) -> Rig:
    """The shared rig, without faults."""
    shared.faults()
    for mark in shared.folder.glob("at-*"):
        mark.unlink()
    return shared


@pytest.fixture(scope="module")
def undisturbed(shared: Rig) -> dict[str, str]:
    """Name and SHA-256 of every file that the recipe gives when nothing goes wrong."""
    shared.faults()
    job = shared.submit()
    assert shared.ended(job).state == "succeeded", shared.told()
    return shared.weights(job)


@pytest.fixture
def make_rig(tmp_path: Path, models: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**settings: Any) -> Rig:
        folder = tmp_path / f"rig{len(rigs)}"
        folder.mkdir()
        rigs.append(Rig(folder, models, **settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


@pytest.fixture
def library(models: Path) -> Iterator[Library]:
    """The tiny models as ``local:models/...``, and no Hub."""
    library = local(models)
    yield library
    library.close()


@pytest.fixture(scope="module")
def cdn_hub(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[StandInHub]:
    """The models as ``org/...``; weights are answered by redirects, as on the Hub."""
    with served(tmp_path_factory.mktemp("hub"), models, cdn=True) as hub:
        yield hub


@pytest.fixture
def bench(cdn_hub: StandInHub, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(cdn_hub, tmp_path)
    yield bench
    bench.library.close()


@pytest.fixture(scope="module")
def from_stored(cdn_hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    """What the recipes give when the parents are stored first."""
    bench = Bench(cdn_hub, tmp_path_factory.mktemp("stored"))
    made = {text: bench.merge(text, stream=False, name=str(i)) for i, text in enumerate(RECIPES)}
    assert bench.stored()
    bench.library.close()
    return made
