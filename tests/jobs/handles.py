"""Short words for what most tests of jobs do."""

from __future__ import annotations

from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from tests.jobs.conftest import Clock

LEASE = 60.0


def take(database: Sessions, clock: Clock, job: Job, worker: str = "w", pid: int = 1) -> Claim:
    claim = Claim.take(database, job.id, worker=worker, pid=pid, lease=LEASE, clock=clock)
    assert claim is not None
    return claim


def fresh(store: Store, job: Job) -> Job:
    found = store.get(job.id)
    assert found is not None
    return found


def submit(store: Store, **values: object) -> Job:
    return store.submit(NewJob(**{"kind": "merge", "recipe": "merge_method: linear", **values}))[0]  # type: ignore[arg-type]
