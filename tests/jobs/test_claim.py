"""A job in a worker's hands: who has it, who has lost it, what it may write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.db import Sessions, make_engine, sessions
from app.jobs.claim import Claim, LeaseLost, Numbers
from app.jobs.store import Store
from app.recipe.findings import Finding
from app.settings import Settings
from tests.jobs.conftest import Clock
from tests.jobs.handles import LEASE, fresh, submit, take


def test_one_of_many_workers_gets_the_job(settings: Settings, database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    engine = make_engine(settings, durable=False)
    with ThreadPoolExecutor(12) as pool:
        claims = list(
            pool.map(
                lambda n: Claim.take(sessions(engine), job.id, worker=f"w{n}", pid=n, lease=LEASE, clock=clock),
                range(50),
            )
        )
    engine.dispose()
    assert len([claim for claim in claims if claim]) == 1
    assert fresh(store, job).attempt == 1


def test_a_running_job_is_taken_over_only_when_its_lease_ran_out(
    database: Sessions, store: Store, clock: Clock
) -> None:
    job = submit(store)
    first = take(database, clock, job, "first")
    clock.now += LEASE - 1
    assert Claim.take(database, job.id, worker="second", pid=2, lease=LEASE, clock=clock) is None
    assert first.renew() is False
    clock.now += LEASE - 1
    assert Claim.take(database, job.id, worker="second", pid=2, lease=LEASE, clock=clock) is None
    clock.now += 2
    second = take(database, clock, job, "second")
    assert second.job.epoch == first.job.epoch + 1
    assert (second.job.crashes, second.job.attempt) == (1, 2)


def test_who_lost_the_job_writes_nothing(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    late = take(database, clock, job, "late")
    clock.now += LEASE + 1
    owner = take(database, clock, job, "owner")
    owner.enter("merging", Numbers(1, 2, 3, 4), "Merging.")
    history = len(store.events(job.id))
    for write in (
        late.renew,
        lambda: late.enter("verifying", Numbers(9, 9, 9, 9), "Late."),
        lambda: late.note("log", "Late."),
        lambda: late.add_shard("a", 1, "0" * 64, "k"),
        lambda: late.pin("late", ["late"], shards=9, memory_bytes=9),
        lambda: late.reserve(1, 100),
        lambda: late.succeed({"late": True}),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert (late.fail([Finding("error", "x", "", "Late.")]), late.stop(), late.release()) == (False, False, False)
    now = fresh(store, job)
    assert (now.state, now.stage, now.worker, now.tensors_done, now.pinned) == ("running", "merging", "owner", 1, None)
    assert len(store.events(job.id)) == history
    assert store.shards(job.id) == []


def test_handing_back_does_not_count(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    for _ in range(5):
        assert take(database, clock, job).release()
    now = fresh(store, job)
    assert (now.state, now.attempt, now.crashes, now.epoch, now.lease_until) == ("queued", 0, 0, 5, None)


def test_cancel_while_running_is_heard_at_the_next_renewal(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    claim = take(database, clock, job)
    assert claim.renew() is False
    asked = store.request_cancel(job.id)
    assert asked is not None
    assert asked.state == "running"
    clock.now += 1
    store.request_cancel(job.id)
    assert fresh(store, job).cancel_requested_at == clock.now - 1
    assert claim.renew() is True
    assert claim.release() is False
    assert claim.stop() is True
    assert fresh(store, job).state == "cancelled"


def test_cancel_beats_a_success_that_comes_later(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    claim = take(database, clock, job)
    store.request_cancel(job.id)
    assert claim.succeed({}) is False
    assert claim.stop() is True


def test_success_beats_a_cancel_that_comes_later(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    assert take(database, clock, job).succeed({"bytes": 5}) is True
    assert store.request_cancel(job.id) is None
    assert (fresh(store, job).state, fresh(store, job).result) == ("succeeded", {"bytes": 5})


def test_disk_is_promised_once(database: Sessions, store: Store, clock: Clock) -> None:
    one, two = take(database, clock, submit(store)), take(database, clock, submit(store))
    assert one.reserve(600, 1000) == 0
    assert two.reserve(600, 1000) == 200
    assert two.reserve(400, 1000) == 0
    one.add_shard("a.safetensors", 500, "0" * 64, "k")
    assert two.reserve(500, 600) == 0
    one.succeed({})
    assert two.reserve(600, 600) == 0


def test_only_shards_of_the_same_plan_are_kept(database: Sessions, store: Store, clock: Clock) -> None:
    claim = take(database, clock, submit(store))
    claim.add_shard("a", 1, "a" * 64, "old")
    claim.add_shard("b", 2, "b" * 64, "new")
    claim.add_shard("b", 3, "c" * 64, "new")
    assert [(shard.file, shard.size) for shard in claim.keep_shards("new")] == [("b", 3)]
    assert [shard.file for shard in store.shards(claim.job.id)] == ["b"]


def test_events_go_on_where_a_page_left_off(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    claim = take(database, clock, job)
    last = claim.enter("checking", Numbers(), "Checking.")
    claim.note("log", "One.")
    claim.note("shard", "Two.", {"file": "a"})
    assert [(event.kind, event.text, event.data) for event in store.events(job.id, last)] == [
        ("log", "One.", {}),
        ("shard", "Two.", {"file": "a"}),
    ]


def test_a_locked_database_is_waited_for(settings: Settings, database: Sessions, store: Store, clock: Clock) -> None:
    claim = take(database, clock, submit(store))
    other = make_engine(settings)
    with ThreadPoolExecutor(1) as pool, other.connect() as blocker:
        blocker.execute(text("BEGIN IMMEDIATE"))
        renewal = pool.submit(claim.renew)
        with pytest.raises(TimeoutError):
            renewal.result(timeout=0.5)
        blocker.rollback()
        assert renewal.result(timeout=10) is False
    other.dispose()
