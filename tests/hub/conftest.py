from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import close_session

from tests.support.hub import StandInHub
from tests.support.hub_state import User

ALICE = "hf_alice0000000000000000000000"
BOB = "hf_bob000000000000000000000000"
READER = "hf_reader00000000000000000000"
TOKENS = {ALICE: User("alice", orgs=("guild",)), BOB: User("bob"), READER: User("alice", role="read")}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    root = tmp_path / "hub"
    root.mkdir()
    with StandInHub(root, tokens=TOKENS) as server:
        yield server


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., HfApi]]:
    """Makes the official client for an endpoint: no Xet, no token of this machine, no word to anybody else."""
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setattr(constants, name, True)

    def make(endpoint: str, token: str | None = None) -> HfApi:
        return HfApi(endpoint=endpoint, token=token or False)

    yield make
    close_session()
