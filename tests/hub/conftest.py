from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import close_session
from safetensors.numpy import save

from app.hub import partial
from tests.hub.served_model import BIG, NAME, ServedModel
from tests.support.hub import StandInHub
from tests.support.hub_state import User

ALICE = "hf_alice0000000000000000000000"
BOB = "hf_bob000000000000000000000000"
READER = "hf_reader00000000000000000000"
WEIGHTS = save({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(5, np.float16)})
TOKENS = {ALICE: User("alice", orgs=("guild",)), BOB: User("bob"), READER: User("alice", role="read")}


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
def official(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., HfApi]]:
    """Makes the official client for an endpoint: no Xet, no token of this machine, no word to anybody else."""
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setattr(constants, name, True)

    def make(endpoint: str, token: str | None = None) -> HfApi:
        return HfApi(endpoint=endpoint, token=token or False)

    yield make
    close_session()


@pytest.fixture
def make(hub: StandInHub, tmp_path: Path) -> Iterator[Callable[..., ServedModel]]:
    made: list[ServedModel] = []

    def one(content: bytes = BIG, name: str = NAME, server: StandInHub = hub) -> ServedModel:
        made.append(ServedModel(server, tmp_path / "cache", content, name))
        return made[-1]

    yield one
    for model in made:
        model.client.close()


@pytest.fixture(params=[1, 4], ids=["one-segment", "four-segments"])
def model(
    make: Callable[..., ServedModel], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> ServedModel:
    monkeypatch.setattr(partial, "WHOLE", 32 << 20 if request.param == 1 else 1000)
    return make()


@pytest.fixture
def single(make: Callable[..., ServedModel]) -> ServedModel:
    return make()
