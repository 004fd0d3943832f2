"""Handing in, looking up, cancelling, trying again; leases, epochs, reservations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text

from app.db import Sessions, make_engine, sessions
from app.jobs.claim import Claim, LeaseLost, Numbers
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.jobs.upkeep import Upkeep
from app.recipe.findings import Finding
from app.settings import Settings
from tests.jobs.conftest import Clock

LEASE = 60.0


@pytest.fixture
def upkeep(database: Sessions, clock: Clock) -> Upkeep:
    return Upkeep(database, clock)


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


def test_handing_back_does_not_count(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    for _ in range(5):
        assert take(database, clock, job).release()
    now = fresh(store, job)
    assert (now.state, now.attempt, now.crashes, now.epoch, now.lease_until) == ("queued", 0, 0, 5, None)


def test_cancel_while_waiting(database: Sessions, store: Store, clock: Clock) -> None:
    job = submit(store)
    cancelled = store.request_cancel(job.id)
    assert cancelled is not None
    assert (cancelled.state, cancelled.finished_at) == ("cancelled", clock.now)
    assert Claim.take(database, job.id, worker="w", pid=1, lease=LEASE, clock=clock) is None
    assert store.request_cancel(job.id) is None
    assert [(event.kind, event.data) for event in store.events(job.id)][-1] == ("done", {"state": "cancelled"})


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


def test_a_dead_cancelled_job_is_settled(database: Sessions, store: Store, upkeep: Upkeep, clock: Clock) -> None:
    job = submit(store)
    take(database, clock, job)
    store.request_cancel(job.id)
    assert upkeep.settle(1) == []
    clock.now += LEASE + 1
    assert Claim.take(database, job.id, worker="w", pid=1, lease=LEASE, clock=clock) is None
    assert [ended.state for ended in (fresh(store, one) for one in upkeep.settle(1))] == ["cancelled"]


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
