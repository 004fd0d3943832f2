"""The estimate rests on what this server has measured, and says so."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.pace import told
from app.jobs.store import NewJob, Store
from app.planning.rates import DOWNLOAD_RATE, Took

TIES = "merge_method: ties\nbase_model: loom/base\nmodels:\n" + "".join(
    f"- {{model: loom/{one}, parameters: {{weight: 1, density: 0.5}}}}\n" for one in ("code", "prose")
)
LIVE = {"HX-Request": "true", "HX-Request-Type": "partial"}


def finish(store: Store, database: Sessions, took: Took) -> None:
    job, _ = store.submit(NewJob(kind="merge"))
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=60)
    assert claim is not None
    assert claim.succeed({"bytes": 5, "files": 1, **told(took)})


def test_page_and_api_go_by_the_last_merges(online: TestClient, store: Store, database: Sessions) -> None:
    before = online.post("/api/recipes/check", content=TIES).json()["estimate"]
    assert before["basis"].startswith("a guess until this server has merged something")
    assert "a guess until this server has merged something" in online.post("/build", data={"recipe": TIES}).text
    for factor in (99.0, 100.0, 300.0):
        finish(store, database, Took("ties", 40.0, 1.0, seconds=40.0 * factor))
    finish(store, database, Took("ties", 40.0, 1.0, fetched=10**9, fetching=1000.0))
    after = online.post("/api/recipes/check", content=TIES).json()["estimate"]
    assert after["basis"].startswith("from the last 3 TIES merges on this server; the download at 1 MB/s, from")
    merging = before["seconds"] - before["download_bytes"] / DOWNLOAD_RATE
    assert after["seconds"] == pytest.approx(100 * merging + after["download_bytes"] / 1e6, rel=0.1)
    page = online.post("/build/check", data={"recipe": TIES}, headers=LIVE).text
    assert "from the last 3 TIES merges on this server" in page
    assert "about 2 min" in page
