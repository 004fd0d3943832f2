"""Downloads over bad lines and from busy Hubs: whole and checked, or refused with the reason."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from app.hub.transport import FETCHING
from tests.hub.conftest import ALICE
from tests.hub.served_model import BIG, NAME, REPO, ServedModel
from tests.support.hub import StandInHub
from tests.support.hub_faults import limited


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_hub_is_tried_again(model: ServedModel, hub: StandInHub, status: int) -> None:
    hub.fault("status", NAME, status=status, times=2)
    model.fetch_whole()
    assert len(model.waits) == 2
    assert all(text for _, text in model.waits)


def test_a_hub_that_stays_broken_is_given_up(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("status", NAME, status=503, times=None)
    assert single.refusal() == "download-failed"
    assert len(hub.seen) == FETCHING.attempts
    hub.heal()
    single.fetch_whole()


@pytest.mark.parametrize("by", ["ratelimit", "retry-after"])
def test_a_pause_that_the_hub_asks_for_is_kept(single: ServedModel, hub: StandInHub, by: str) -> None:
    hub.fault("status", NAME, **limited(1, by=by))  # type: ignore[arg-type]
    began = time.monotonic()
    single.fetch_whole()
    assert time.monotonic() - began >= 1
    ((seconds, why),) = single.waits
    assert 1 <= seconds < 1.1
    assert "pause" in why


def test_a_pause_of_hours_is_told_instead(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("status", NAME, **limited(7200), times=None)
    assert single.refusal() == "rate-limited"
    assert len(hub.seen) == 1


@pytest.mark.parametrize(
    ("kind", "after"), [("cut", 0), ("cut", 1), ("cut", 375_000), ("cut", 749_999), ("stall", 0), ("stall", 375_000)]
)
def test_a_broken_line_goes_on_where_it_broke(model: ServedModel, hub: StandInHub, kind: str, after: int) -> None:
    if kind == "stall":
        model.client.fetching = replace(model.client.fetching, silence=0.3)
    hub.fault(kind, NAME, after=after, times=3)  # type: ignore[arg-type]
    model.fetch_whole()
    assert len(BIG) <= hub.sent <= len(BIG) + 2 * 65_536 * 3
    assert model.waits


def test_a_line_that_drips_is_given_up(single: ServedModel, hub: StandInHub) -> None:
    single.client.fetching = replace(single.client.fetching, silence=0.1, attempts=2)
    hub.fault("slow", NAME, after=10, times=None)
    assert single.refusal() == "download-failed"
    assert len(hub.seen) == 2
    hub.heal()
    single.fetch_whole()


def test_a_line_that_always_breaks_but_moves_on_gets_there(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("cut", NAME, after=1_100_000, times=None)
    single.client.fetching = replace(single.client.fetching, attempts=2)
    single.fetch_whole()


@pytest.mark.parametrize("kind", ["ignore-range", "longer", "shorter", "swap"])
def test_odd_answers_do_not_harm(model: ServedModel, hub: StandInHub, kind: str) -> None:
    hub.fault(kind, NAME, after=1000)  # type: ignore[arg-type]
    model.fetch_whole()


def test_a_server_without_ranges_can_be_resumed_from(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("cut", NAME, after=1_000_000)
    hub.fault("ignore-range", NAME)
    single.fetch_whole()
    assert [entry.status for entry in hub.seen] == [206, 200]


def test_content_that_stays_wrong_is_never_shown(model: ServedModel, hub: StandInHub) -> None:
    hub.fault("swap", NAME, times=None)
    assert model.refusal() == "checksum-mismatch"
    assert model.blobs == set()
    assert sum(model.told) == 0
    hub.heal()
    model.fetch_whole()


def test_a_file_that_changed_its_size_is_refused(single: ServedModel, hub: StandInHub) -> None:
    single.file = replace(single.file, size=len(BIG) + 10)
    assert single.refusal() == "download-failed"


def test_a_moved_branch_does_not_matter(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("cut", NAME, after=1_000_000)
    hub.fault("status", NAME, status=503)
    moved = threading.Event()

    def check() -> None:
        if single.waits and not moved.is_set():
            moved.set()
            hub.add(REPO, {NAME: BIG[::-1]})

    single.fetch(check=check)
    assert moved.is_set()
    assert single.pointer.read_bytes() == BIG


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (401, {"X-Error-Code": "RepoNotFound"}, "repo-not-found"),
        (401, {"X-Error-Code": "GatedRepo"}, "gated"),
        (403, {"X-Error-Code": "GatedRepo"}, "gated"),
        (403, {}, "token-refused"),
        (404, {"X-Error-Code": "RepoNotFound"}, "repo-not-found"),
        (404, {"X-Error-Code": "EntryNotFound"}, "file-not-found"),
    ],
)
def test_lost_access_ends_at_once(
    single: ServedModel, hub: StandInHub, status: int, headers: dict[str, str], code: str
) -> None:
    hub.fault("cut", NAME, after=1_000_000)
    hub.fault("status", NAME, status=status, headers=headers, times=None)
    assert single.refusal(ALICE) == code
    assert len(hub.seen) == 2
