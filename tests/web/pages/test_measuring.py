"""While it is measured how far apart models are, the page asks for that alone, and stops when it is known."""

from __future__ import annotations

import threading
import time

import pytest
from starlette.testclient import TestClient

from app import preflight
from app.library import distances
from app.recipe.findings import refuse
from tests.web.pages.html import elements, one

LIVE = {"HX-Request": "true", "HX-Request-Type": "partial"}
FORM = {
    "recipe": "merge_method: ties\nbase_model: loom/base\nmodels:\n"
    "- {model: loom/code, parameters: {weight: 1, density: 0.5}}\n"
    "- {model: loom/prose, parameters: {weight: 1, density: 0.5}}\n"
}


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, nothing is measured."""
    event, measure = threading.Event(), distances._measure

    def wait(*models: distances.Known) -> float | None:
        assert event.wait(60)
        return measure(*models)

    monkeypatch.setattr(distances, "_measure", wait)
    return event


def ask(client: TestClient, answer: str) -> str | None:
    """What the page's poll gets; None for nothing to swap."""
    polled = client.post(one(answer, "li", id="measuring").attributes["hx-post"], data=FORM, headers=LIVE)
    assert polled.status_code in (200, 204)
    return polled.text if polled.status_code == 200 else None


def test_the_poll_plans_nothing_until_the_measure_is_there(
    online: TestClient, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[object] = []
    plan = preflight.make_plan
    monkeypatch.setattr(preflight, "make_plan", lambda *of, **more: planned.append(of) or plan(*of, **more))
    checked = online.post("/build/check", data=FORM, headers=LIVE).text
    assert [ask(online, checked) for _ in range(3)] == [None] * 3
    assert len(planned) == 1
    release.set()
    until = time.monotonic() + 60
    while (answer := ask(online, checked)) is None:
        assert time.monotonic() < until
    assert [part.attributes["hx-target"] for part in elements(answer, "hx-partial")] == ["#findings"]
    assert '</abbr> differs from <abbr class="t-base" title="loom/base">the base</abbr> by' in answer
    assert "measuring" not in answer


def test_a_measure_that_takes_too_long_ends_the_asking(online: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def wait(*_: distances.Known) -> None:
        assert over.wait(60)

    monkeypatch.setattr(distances, "_measure", wait)
    checked = online.post("/build/check", data=FORM, headers=LIVE).text
    monkeypatch.setattr(distances, "LONGEST", -1.0)
    answer = ask(online, checked)
    assert answer is not None, "too slow to wait for"
    assert "measuring" not in answer
    assert "differs from" not in answer
    over.set()


def test_a_hub_that_refuses_ends_the_asking(online: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def fail(*_: object) -> None:
        tried.append(_)
        raise refuse("hub-unreachable", "", "The Hub cannot be reached.", "Try again.")

    monkeypatch.setattr(distances, "_measure", fail)
    answer = online.post("/build/measured", data=FORM, headers=LIVE)
    while answer.status_code == 204:
        answer = online.post("/build/measured", data=FORM, headers=LIVE)
    assert "measuring" not in answer.text
    assert len(tried) == 2, "once for each parent, and not again with every question"


def test_without_models_nothing_is_measured(client: TestClient) -> None:
    for recipe in ("", "merge_method: [", "merge_method: ties\n"):
        answer = client.post("/build/measured", data={"recipe": recipe}, headers=LIVE)
        assert answer.status_code == 200
        assert "measuring" not in answer.text
