"""What finished merges took, read back from their rows."""

from __future__ import annotations

import pytest

from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.pace import told
from app.jobs.store import NewJob, Store
from app.planning.rates import GUESSED, Measured, Took
from tests.jobs.conftest import Clock


def finish(store: Store, database: Sessions, clock: Clock, result: dict, kind: str = "merge") -> None:
    clock.now += 1
    job, _ = store.submit(NewJob(kind=kind))
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=60, clock=clock)
    assert claim is not None
    assert claim.succeed(result)


def test_rates_come_from_the_last_merges_that_succeeded(store: Store, database: Sessions, clock: Clock) -> None:
    assert store.rates() == GUESSED
    finish(store, database, clock, {"bytes": 5, "files": 1})
    finish(store, database, clock, {"tensors": 5}, kind="compare")
    store.submit(NewJob(kind="merge"))
    assert store.rates() == GUESSED
    for seconds in (30.0, 20.0, 90.0):
        took = Took("ties", 10.0, 1.0, seconds=seconds)
        finish(store, database, clock, {"bytes": 5, "files": 1, **told(took)})
    finish(store, database, clock, told(Took("slerp", 10.0, 1.0, fetched=10**9, fetching=20.0)))
    found = store.rates()
    assert found.merging == found.by_method["ties"] == Measured(pytest.approx(3.0), 3)
    assert found.download == Measured(pytest.approx(5e7), 1)


@pytest.mark.parametrize("result", [{"took": 3}, {"took": {"method": "ties"}}, {"took": None}])
def test_rows_of_other_versions_are_passed_over(store: Store, database: Sessions, clock: Clock, result: dict) -> None:
    finish(store, database, clock, result)
    assert store.rates() == GUESSED
