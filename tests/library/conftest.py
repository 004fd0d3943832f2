from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.hub.client import HubClient
from app.library.facts import Library
from app.library.local import LocalRoots
from tests.support.hub import StandInHub
from tests.support.hub_state import User

ALICE = "hf_alice0000000000000000000000"
BOB = "hf_bob000000000000000000000000"
TOKENS = {ALICE: User("alice"), BOB: User("bob")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    with StandInHub(tmp_path_factory.mktemp("empty")) as started:
        yield started


@pytest.fixture
def hub(server: StandInHub, tmp_path: Path) -> StandInHub:
    (tmp_path / "hub").mkdir()
    server.start_over(tmp_path / "hub", TOKENS)
    return server


@pytest.fixture
def library(hub: StandInHub, tmp_path: Path) -> Iterator[Library]:
    """Models of the stand-in Hub and of ``tmp_path/models`` (``local:disk/...``)."""
    (tmp_path / "models").mkdir()
    made = Library(HubClient(hub.endpoint, tmp_path / "cache"), LocalRoots({"disk": tmp_path / "models"}))
    yield made
    made.close()
