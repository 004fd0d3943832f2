"""Handing in, looking up, cancelling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.recipe.findings import Finding
from tests.jobs.conftest import Clock
from tests.jobs.handles import LEASE, fresh, submit, take


def test_twenty_clicks_with_one_key_are_one_job(database: Sessions, store: Store) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: store.submit(NewJob("merge", idempotency_key="k")), range(20)))
    assert len({job.id for job, _ in answers}) == 1
    assert [new for _, new in answers].count(True) == 1
    with database() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_without_a_key_every_click_is_a_job(store: Store) -> None:
    assert submit(store).id != submit(store).id


def test_ids_cannot_be_guessed(store: Store) -> None:
    ids = [submit(store).id for _ in range(20)]
    assert all(len(bytes.fromhex(job_id)) == 16 for job_id in ids)
    assert len(set(ids)) == 20


def test_an_upload_of_a_job_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="FOREIGN KEY"):
        submit(store, kind="upload", source_job="0" * 32)


def test_list_filters_and_pages(database: Sessions, store: Store, clock: Clock) -> None:
    jobs = []
    for _ in range(5):
        clock.now += 1
        jobs.append(submit(store))
    take(database, clock, jobs[0]).fail([Finding("error", "x", "", "No.")])
    assert [job.id for job in store.list(limit=2, offset=1)] == [jobs[3].id, jobs[2].id]
    assert [job.id for job in store.list(states=["failed"])] == [jobs[0].id]
    assert store.list(kind="upload") == []
    assert (store.count(), store.count(states=["queued"])) == (5, 4)


def test_position(database: Sessions, store: Store, clock: Clock) -> None:
    first, second = submit(store), None
    clock.now += 1
    second = submit(store)
    submit(store, kind="upload", source_job=first.id)
    assert (store.position(first), store.position(second)) == (1, 2)
    take(database, clock, first)
    assert store.position(second) == 1
    assert store.position(fresh(store, first)) == 0


def test_kinds_of_one_queue_wait_in_one_line(store: Store, clock: Clock) -> None:
    placed = []
    for kind in ("merge", "compare", "merge-adapters", "upload", "extract-lora"):
        placed.append(store.position(store.submit(NewJob(kind))[0]))
        clock.now += 1
    assert placed == [1, 1, 2, 2, 3]


def test_cancel_while_waiting(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    cancelled = store.request_cancel(job.id)
    assert cancelled is not None
    assert (cancelled.state, cancelled.finished_at) == ("cancelled", clock.now)
    assert Claim.take(database, job.id, worker="w", pid=1, lease=LEASE, clock=clock) is None
    assert store.request_cancel(job.id) is None
    assert [(event.kind, event.data) for event in store.events(job.id)][-1] == ("done", {"state": "cancelled"})
