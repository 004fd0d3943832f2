"""The loom of a finished job: drawn by what the merge found in the weights, and told in words."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.planning.mixture import Mixture, write_coefficients
from app.preflight import preflight
from app.settings import Settings
from tests.web.artifacts import keep_files
from tests.web.pages.html import elements, one
from tests.web.pages.test_build import LIVE

SLERP = """\
merge_method: slerp
base_model: loom/code
models: [{model: loom/code}, {model: loom/prose}]
parameters: {t: 0.5}
"""
STOCK = """\
merge_method: model_stock
base_model: loom/base
models: [{model: loom/code}, {model: loom/prose}]
"""


def submitted(store: Store, recipe: str) -> Job:
    return store.submit(NewJob("merge", recipe=recipe, pinned=recipe, title="Of two"))[0]


def finished(database: Sessions, settings: Settings, job: Job, files: dict[str, bytes]) -> None:
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=600)
    assert claim is not None
    keep_files(settings, job.id, files)
    assert claim.succeed({})


def found(client: TestClient, recipe: str, *coefficients: float, angle: float | None = 43.2) -> bytes:
    """A file of coefficients, the same for every tensor; the last layer's are the other way round, at 9 degrees."""
    plan = preflight(recipe, client.app.state.services.library).plan  # type: ignore[attr-defined]
    assert plan is not None
    last = max(step.layer for step in plan.steps() if step.layer is not None)
    mixtures = [
        Mixture(step.name, coefficients[::-1], (9.0,)) if step.layer == last
        else Mixture(step.name, coefficients, () if angle is None else (angle,), "tensor" if angle else "weight")
        for step in plan.steps()
    ]  # fmt: skip
    return write_coefficients(plan, mixtures).encode()


def widths(page: str, colour: str) -> set[str]:
    """How wide the pieces of a thread are."""
    paths = [
        path.attributes["d"]
        for path in elements(page, "path")
        if f"fill {colour} " in path.attributes.get("class", "") + " "
    ]
    return {piece.partition("h")[2].partition("v")[0] for path in paths for piece in path.split("M")[1:]}


def table(page: str) -> dict[str, list[str]]:
    cells = elements(page, "td")
    heads = [head.text for head in elements(page, "th", scope="row")]
    rows: dict[str, list[str]] = {}
    for head in heads:
        wide = "colspan" in cells[0].attributes
        rows[head] = [cells.pop(0).text for _ in range(1 if wide else 8)]
    return rows


def test_cells_show_what_really_went_in(
    online: TestClient, with_hub: Settings, store: Store, database: Sessions
) -> None:
    job = submitted(store, SLERP)
    place = f"/jobs/{job.id}"
    before = online.get(f"{place}/loom", headers=LIVE).text
    assert "They are drawn here when the merge is done." in before
    assert table(before)["0"] == ["A 50, B 50 %"] * 8
    finished(database, with_hub, job, {"coefficients.json": found(online, SLERP, 0.9, 0.3)})
    page = online.get(f"{place}/loom", headers=LIVE).text
    assert table(page)["0"] == ["A 0.90, B 0.30, 43°"] * 8
    assert table(page)["3"] == ["A 0.30, B 0.90, 9.0°"] * 8
    assert table(page)["embed"] == ["A 0.90, B 0.30, 43°"]
    assert "coefficient with the angle" in one(page, "caption").text
    words = " ".join(hint.text for hint in elements(page, "p", **{"class": "hint"}))
    assert "Drawn by what SLERP found in the weights; in the whole model A 0." in words
    assert "apart on average, 9.0° to 43° in single tensors" in words
    assert "500" in widths(before, "t-A")
    assert {"750", "250"} & widths(page, "t-A") == {"750"}
    link = one(page, "a", href=f"/api{place}/files/coefficients.json")
    assert online.get(link.attributes["href"]).json()["format"] == 1


def test_without_a_script_the_loom_comes_with_the_page(online: TestClient, store: Store) -> None:
    place = f"/jobs/{submitted(store, SLERP).id}"
    assert f'<a href="{place}/loom">Show the loom</a>' in online.get(place).text
    page = online.get(f"{place}/loom").text
    assert one(page, "h2", id="loom-label")
    assert table(page)["0"] == ["A 50, B 50 %"] * 8
    assert "hx-get" not in one(page, "div", id="loom").attributes


def test_changes_from_a_base_and_a_negative_coefficient(
    online: TestClient, with_hub: Settings, store: Store, database: Sessions
) -> None:
    job = submitted(store, STOCK)
    assert "drawn here when the merge is done" in online.get(f"/jobs/{job.id}/loom", headers=LIVE).text
    finished(database, with_hub, job, {"coefficients.json": found(online, STOCK, 1.02, -0.016, -0.001)})
    page = online.get(f"/jobs/{job.id}/loom", headers=LIVE).text
    assert table(page)["1"] == ["base 1.02, A −0.02, B 0.00, 43°"] * 8
    assert "The parents’ changes from the base are" in page


def test_methods_that_choose_weight_by_weight_have_shares(
    online: TestClient, with_hub: Settings, store: Store, database: Sessions
) -> None:
    recipe = STOCK.replace("model_stock", "sce")
    job = submitted(store, recipe)
    finished(database, with_hub, job, {"coefficients.json": found(online, recipe, 0.6, 0.3, 0.1, angle=None)})
    page = online.get(f"/jobs/{job.id}/loom", headers=LIVE).text
    assert table(page)["1"] == ["base 60, A 30, B 10 %"] * 8


@pytest.mark.parametrize("content", [None, b"{", b'{"format": 1, "tensors": []}'])
def test_without_a_readable_file_the_recipe_is_drawn(
    online: TestClient, with_hub: Settings, store: Store, database: Sessions, content: bytes | None
) -> None:
    job = submitted(store, STOCK)
    finished(database, with_hub, job, {"x": b""} if content is None else {"coefficients.json": content})
    page = online.get(f"/jobs/{job.id}/loom", headers=LIVE).text
    assert "so the parents are drawn as equal" in page
    assert "coefficients.json" not in page
    assert table(page)["1"] == ["base 33, A 33, B 33 %"] * 8


def test_a_method_that_never_tells_says_so(online: TestClient, store: Store) -> None:
    job = submitted(store, STOCK.replace("model_stock", "ram"))
    page = online.get(f"/jobs/{job.id}/loom", headers=LIVE).text
    assert "RAM decides by the weights themselves, so the parents are drawn as equal." in page
