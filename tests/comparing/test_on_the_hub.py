"""Comparing models on the Hub: a sample is a few pieces that are stored nowhere, everything is fetched once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.comparing.wanted import read_wanted
from app.hub.client import HubClient
from app.kinship import how_far_apart
from app.library.facts import Library
from app.library.local import LocalRoots
from app.precompare import precompare
from app.preflight import gather_facts
from app.recipe.findings import Refused
from app.recipe.reading import read_recipe
from tests.support.hub import StandInHub
from tests.support.quiet import Quiet
from tests.support.tiny_models import make_tiny
from worker.compare.compare import compare

MODELS, BASE = ["loom/one", "loom/two"], "loom/base"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    root = tmp_path_factory.mktemp("hub")
    base = make_tiny(root / "loom/base", seed=1, hidden=256, layers=2, vocab=4000)
    make_tiny(root / "loom/one", seed=2, base=base)
    make_tiny(root / "loom/two", seed=3, base=base, shards=2)
    with StandInHub(root) as started:
        yield started


@pytest.fixture
def library(server: StandInHub, tmp_path: Path) -> Iterator[Library]:
    made = Library(HubClient(server.endpoint, tmp_path / "cache"), LocalRoots({"disk": server.repos.root}))
    server.forget()
    yield made
    made.close()


def weights_in(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 100_000)


def test_a_sample_reads_pieces_and_keeps_nothing(library: Library, server: StandInHub, tmp_path: Path) -> None:
    looked = precompare(read_wanted(MODELS, BASE), library)
    server.forget()
    told = compare(read_wanted(MODELS, BASE), library, Quiet())
    assert weights_in(tmp_path / "cache") == 0
    assert looked.meeting.download_bytes == looked.meeting.read_bytes
    assert server.sent < looked.meeting.read_bytes * 1.05 + 300_000
    assert looked.meeting.read_bytes < sum(one.parameters * 2 for one in looked.meeting.facts) / 3
    local = compare(read_wanted([f"local:disk/{one}" for one in MODELS], f"local:disk/{BASE}"), library, Quiet())
    assert told.tensors == local.tensors
    assert told.models == tuple(f"{one}@{server.commit_of(one)}" for one in MODELS)


def test_everything_is_fetched_first(library: Library, tmp_path: Path) -> None:
    watch = Quiet()
    told = compare(read_wanted(MODELS, BASE, full=True), library, watch)
    assert watch.stages == ["checking", "downloading", "comparing"]
    assert all(one.measured == one.elements for one in told.tensors)
    assert weights_in(tmp_path / "cache") > 3 * 4_000_000
    assert precompare(read_wanted(MODELS, BASE, full=True), library).meeting.download_bytes == 0


def test_a_model_that_nobody_may_see_is_named(library: Library) -> None:
    with pytest.raises(Refused) as refused:
        compare(read_wanted([*MODELS, "loom/nobody"], BASE), library, Quiet())
    assert "loom/nobody" in refused.value.findings[0].text


def test_how_far_apart_takes_a_dozen_small_reads(library: Library, server: StandInHub) -> None:
    text = f"merge_method: linear\nmodels:\n- {{model: {BASE}, parameters: {{weight: 1}}}}\n"
    recipe = read_recipe(text + f"- {{model: {MODELS[0]}, parameters: {{weight: 1}}}}\n").recipe
    assert recipe is not None
    facts, _ = gather_facts(recipe, library, None)
    server.forget()
    (found,), settled = how_far_apart(recipe, facts, library, patience=20)
    assert (found.code, settled) == ("close-kin", True)
    assert server.sent < 6 * 2 * 4 * 1024 * 2 + 20_000
    server.forget()
    assert how_far_apart(recipe, facts, library, patience=0) == ((found,), True)
    assert server.sent == 0
