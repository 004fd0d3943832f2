"""For merges of models on the Hub: the stand-in with two models, a cache of one's own, and recipes of several kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.hub.client import HubClient
from app.hub.transport import FETCHING
from app.library.facts import Library
from app.library.local import LocalRoots
from app.storage.base import Manifest
from tests.support.hub import StandInHub
from tests.support.quiet import Quiet
from tests.worker.rig import RECIPE
from worker.steps.checkpoint import Order, make_checkpoint

LINEAR = RECIPE.replace("local:models", "org")
TIES = """\
merge_method: ties
base_model: org/one
models:
- {model: org/two, parameters: {weight: 1, density: 0.4}}
"""
STAGES = """\
name: mixed
merge_method: linear
models:
- {model: org/one, parameters: {weight: 1}}
- {model: org/two, parameters: {weight: 1}}
---
merge_method: slerp
base_model: org/one
models: [{model: org/one}, {model: mixed}]
parameters: {t: 0.4}
"""
SUBSET = """\
merge_method: passthrough
slices:
- sources: [{model: org/two, layer_range: [0, 2]}]
- sources: [{model: org/two, layer_range: [1, 2]}]
"""
RECIPES = (LINEAR, TIES, STAGES, SUBSET)
WEIGHTS = r"resolve/.*\.safetensors$"


def served(folder: Path, models: Path, cdn: bool) -> StandInHub:
    hub = StandInHub(folder, cdn=cdn)
    for name in ("one", "two"):
        hub.add(f"org/{name}", {path.name: path.read_bytes() for path in (models / name).iterdir()})
    return hub


class Bench:
    """A library over the stand-in Hub with a cache of its own, and merges with it."""

    def __init__(self, hub: StandInHub, folder: Path) -> None:
        hub.heal()
        hub.forget()
        client = HubClient(hub.endpoint, folder / "cache")
        client.fetching = replace(FETCHING, first=0.01, longest=0.05, silence=3)
        self.hub, self.folder, self.client = hub, folder, client
        self.library = Library(client, LocalRoots({}))
        self.watch = Quiet()

    def merge(self, recipe: str, *, stream: bool, name: str = "out", watch: Quiet | None = None) -> Manifest:
        order = Order(recipe, self.folder / f"{name}.work", self.folder / name, "t", stream=stream, threads=3)
        self.watch = watch or Quiet()
        return make_checkpoint(order, self.library, self.watch)

    def stored(self) -> list[Path]:
        """Weights in the cache: what the Hub keeps in LFS, whole or not."""
        return [path for path in (self.folder / "cache").glob("*/blobs/*") if len(path.name.split(".")[0]) == 64]


def weights_sent(hub: StandInHub) -> int:
    return sum(entry.sent for entry in hub.requests("safetensors") if entry.status in (200, 206) and entry.range)
