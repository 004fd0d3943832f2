"""What got lost is found: dead workers, forgotten jobs, spent tokens."""

from __future__ import annotations

import pytest

from app.db import Sessions
from app.jobs.claim import Claim, Numbers
from app.jobs.store import Store
from app.jobs.upkeep import Upkeep
from tests.jobs.conftest import Clock
from tests.jobs.handles import LEASE, fresh, submit, take


@pytest.fixture
def upkeep(database: Sessions, clock: Clock) -> Upkeep:
    return Upkeep(database, clock)


def test_a_third_death_ends_the_job(database: Sessions, store: Store, upkeep: Upkeep, clock: Clock) -> None:
    job = submit(store)
    for _ in range(3):
        claim = take(database, clock, job)
        claim.pin("r", [], shards=1, memory_bytes=28 * 1024**3)
        claim.enter("merging", Numbers(), "Merging.")
        clock.now += LEASE + 1
    assert Claim.take(database, job.id, worker="w", pid=1, lease=LEASE, clock=clock) is None
    assert [ended.id for ended in upkeep.settle(24 * 1024**3)] == [job.id]
    ended = fresh(store, job)
    assert (ended.state, ended.crashes, ended.finished_at) == ("failed", 3, clock.now)
    assert ended.error is not None
    assert "28.0 GiB" in ended.error[0]["text"]
    assert "24.0 GiB" in ended.error[0]["text"]
    assert "merging" in ended.error[0]["text"]
    assert upkeep.settle(1) == []
    again = store.retry(job.id)
    assert again is not None
    assert (again.state, again.crashes, again.error) == ("queued", 0, None)
    assert take(database, clock, job).job.epoch == 4


def test_a_dead_cancelled_job_is_settled(database: Sessions, store: Store, upkeep: Upkeep, clock: Clock) -> None:
    job = submit(store)
    take(database, clock, job)
    store.request_cancel(job.id)
    assert upkeep.settle(1) == []
    clock.now += LEASE + 1
    assert Claim.take(database, job.id, worker="w", pid=1, lease=LEASE, clock=clock) is None
    assert [ended.state for ended in (fresh(store, one) for one in upkeep.settle(1))] == ["cancelled"]


def test_due(database: Sessions, store: Store, upkeep: Upkeep, clock: Clock) -> None:
    job = submit(store)
    assert [one.id for one in upkeep.due(30)] == [job.id]
    store.mark_sent(job.id)
    assert upkeep.due(30) == []
    clock.now += 31
    assert [one.id for one in upkeep.due(30)] == [job.id]
    take(database, clock, job)
    assert upkeep.due(30) == []
    clock.now += LEASE + 1
    assert [one.id for one in upkeep.due(10_000)] == [job.id]  # due at once: nobody was told since the lease ran out
    store.mark_sent(job.id)
    assert upkeep.due(10_000) == []


def test_a_dead_process_need_not_wait_for_its_lease(
    database: Sessions, store: Store, upkeep: Upkeep, clock: Clock
) -> None:
    job = submit(store)
    claim = take(database, clock, job, "merge@here", pid=77)
    held = upkeep.running_on("merge@here")
    assert [(one.id, one.pid) for one in held] == [(job.id, 77)]
    assert upkeep.running_on("merge@there") == []
    upkeep.expire(held[0])
    assert take(database, clock, job).job.crashes == 1
    upkeep.expire(claim.job)  # an old epoch expires nothing
    assert Claim.take(database, job.id, worker="w", pid=1, lease=LEASE, clock=clock) is None


def test_workers_come_and_go(database: Sessions, store: Store, upkeep: Upkeep, clock: Clock) -> None:
    about = {"host": "h", "pid": 1, "queues": ["merge"], "device": "cpu", "memory_free": 1, "disk_free": 2}
    claim = take(database, clock, submit(store), "merge@h")
    upkeep.beat("merge@h", **about)
    upkeep.beat("io@h", **about)
    assert [(worker.name, worker.job_id) for worker in store.workers()] == [("io@h", None), ("merge@h", claim.job.id)]
    clock.now += 30
    upkeep.beat("io@h", **about)
    clock.now += 30
    assert [worker.name for worker in store.workers()] == ["io@h"]
    upkeep.leave("io@h")
    assert store.workers() == []


def test_tokens_are_spent_when_their_job_has_ended(
    database: Sessions, store: Store, upkeep: Upkeep, clock: Clock
) -> None:
    job = submit(store, token_id="t1")
    assert upkeep.spent_tokens() == []
    store.request_cancel(job.id)
    assert upkeep.spent_tokens() == ["t1"]
    upkeep.drop_token("t1")
    assert upkeep.spent_tokens() == []
