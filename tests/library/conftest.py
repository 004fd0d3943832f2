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


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    root = tmp_path / "hub"
    root.mkdir()
    with StandInHub(root, tokens={ALICE: User("alice"), BOB: User("bob")}) as server:
        yield server


@pytest.fixture
def library(hub: StandInHub, tmp_path: Path) -> Iterator[Library]:
    """Models of the stand-in Hub and of ``tmp_path/models`` (``local:disk/...``)."""
    (tmp_path / "models").mkdir()
    made = Library(HubClient(hub.endpoint, tmp_path / "cache"), LocalRoots({"disk": tmp_path / "models"}))
    yield made
    made.close()
