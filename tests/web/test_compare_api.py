"""``/api/compare`` over HTTP."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.store import Store
from app.recipe.findings import Finding
from app.recipe.reading import read_recipe
from app.settings import Settings
from tests.comparing.made import LAYERS, comparison
from tests.web.artifacts import finished_job
from tests.web.comparisons import failed_comparison, finished_comparison, waiting_comparison

SVG = "{http://www.w3.org/2000/svg}"


def test_a_comparison_is_queued_and_told(online: TestClient, store: Store) -> None:
    body = {"models": ["loom/code", "loom/prose"], "base": "loom/base", "mode": "full", "top": 0.1}
    answer = online.post("/api/compare", json=body, headers={"Idempotency-Key": "one"})
    assert answer.status_code == 202
    job = store.get(answer.json()["id"])
    assert job is not None
    assert answer.json()["url"] == f"/compare/{job.id}"
    assert (job.kind, job.title) == ("compare", "code and prose against base")
    assert all("@" in parent for parent in job.parents), "pinned"
    assert job.params == {"models": job.parents[:2], "base": job.parents[2], "full": True, "top": 0.1}
    again = online.post("/api/compare", json=body, headers={"Idempotency-Key": "one"})
    assert again.json() == answer.json()
    told = online.get(f"/api/compare/{job.id}").json()
    assert (told["state"], told["kind"], told["comparison"]) == ("queued", "compare", None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"models": ["loom/code"]}, "too-few-models"),
        ({"models": ["loom/code", "loom/code"]}, "model-twice"),
        ({"models": ["loom/code", "loom/nobody"]}, "repo-not-found"),
        ({"models": ["loom/code", "/etc"]}, "bad-reference"),
        ({"models": ["loom/code", "loom/base"], "top": 2}, "bad-top"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(
    online: TestClient, store: Store, body: dict[str, object], code: str
) -> None:
    answer = online.post("/api/compare", json=body)
    assert answer.status_code in (404, 422)
    assert code in {finding["code"] for finding in answer.json()["findings"]}, answer.json()
    assert store.list() == []


def test_the_numbers(client: TestClient, database: Sessions, settings: Settings) -> None:
    told = comparison(norms=(0.01, 0.05, 0.02))
    job = finished_comparison(database, settings, told)
    found = client.get(f"/api/compare/{job.id}").json()["comparison"]
    assert found["models"] == {"A": "a/A", "B": "a/B", "C": "a/C"}
    assert found["overall"]["delta_norm"]["B"] == pytest.approx(0.05)
    assert len(found["cells"]) == 2 * LAYERS
    assert found["cells"][3]["values"]["sign_conflict"]["A-C"] == pytest.approx(0.2)
    (advice,) = found["suggestions"]
    assert advice["code"] == "unequal"
    assert read_recipe(advice["recipe"]).recipe is not None


def test_csv_and_svg(client: TestClient, database: Sessions, settings: Settings) -> None:
    job = finished_comparison(database, settings, comparison())
    table = client.get(f"/api/compare/{job.id}/tensors.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert len(list(csv.DictReader(io.StringIO(table.text)))) == 2 * LAYERS * 4
    picture = client.get(f"/api/compare/{job.id}/map.svg?measure=delta_norm&of=B")
    assert picture.headers["content-disposition"].startswith("attachment")
    drawn = ElementTree.fromstring(picture.text)
    titles = [one.text for one in drawn.iter(f"{SVG}title")]
    assert titles[0] == "A and B against base: Size of the change, B"
    assert f"layer {LAYERS - 1}, up: 1.0 %" in titles
    assert len(titles) == 1 + 2 * LAYERS
    unknown = client.get(f"/api/compare/{job.id}/map.svg?measure=nonsense&of=Z")
    assert "Opposite signs" in unknown.text


def test_what_is_not_there(client: TestClient, database: Sessions, settings: Settings) -> None:
    merge = finished_job(database, settings, {"model.safetensors": b"x"})
    waiting = waiting_comparison(database)
    failed = failed_comparison(database, Finding("error", "gone", "", "A model is gone.", "Choose another."))
    for path in (
        f"/api/compare/{merge.id}", f"/api/compare/{'0' * 32}", f"/api/compare/{waiting.id}/tensors.csv",
        f"/api/compare/{failed.id}/map.svg",
    ):  # fmt: skip
        assert client.get(path).status_code == 404
    assert client.get(f"/api/compare/{failed.id}").json()["error"][0]["code"] == "gone"
