"""One file of a model on the stand-in Hub, and a client that fetches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.hub.client import HubClient
from app.hub.transport import FETCHING
from app.recipe.findings import Refused
from tests.support.hub import StandInHub

REPO = "alice/model"
NAME = "model.safetensors"
BIG = np.random.default_rng(0).bytes(3_000_003)


class Stop(Exception):
    """What a caller raises to cancel."""


class ServedModel:
    """One file of the stand-in Hub, and a client that fetches it."""

    def __init__(self, hub: StandInHub, cache: Path, content: bytes = BIG, name: str = NAME) -> None:
        self.commit = hub.add(REPO, {name: content})
        self.hub, self.cache, self.content = hub, cache, content
        self.client = HubClient(hub.endpoint, cache)
        self.client.fetching = replace(FETCHING, first=0.01, longest=0.05, silence=3)
        (self.file,) = [file for file in self.client.info(REPO, self.commit).files if file.name == name]
        self.told: list[int] = []
        self.waits: list[tuple[float, str]] = []
        hub.forget()

    @property
    def pointer(self) -> Path:
        return self.cache / "models--alice--model" / "snapshots" / self.commit / self.file.name

    @property
    def blobs(self) -> set[str]:
        folder = self.cache / "models--alice--model" / "blobs"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def fetch(self, token: str | None = None, check: Callable[[], None] = lambda: None) -> Path:
        self.told.clear()
        return self.client.download(
            REPO, self.commit, self.file, token,
            on_bytes=self.told.append, check=check, on_wait=lambda *wait: self.waits.append(wait),
        )  # fmt: skip

    def fetch_whole(self) -> None:
        """Fetch, and see that the file is right and in its place."""
        assert self.fetch() == self.pointer
        assert self.pointer.read_bytes() == self.content
        assert sum(self.told) == len(self.content)
        assert self.blobs == {self.file.sha256 or self.file.oid}

    def refusal(self, token: str | None = None) -> str:
        with pytest.raises(Refused) as refused:
            self.fetch(token)
        assert refused.value.findings[0].fix
        assert not self.pointer.exists()
        return refused.value.findings[0].code

    def after(self, count: int) -> Callable[[], None]:
        """A check that cancels once so many bytes have come."""

        def check() -> None:
            if sum(self.told) >= count:
                raise Stop

        return check
