"""Redis may be emptied, restarted, frozen or away: no job is lost, and a running one does not even notice."""

from __future__ import annotations

import pickle
import time

from app.jobs.store import NewJob
from tests.support.waiting import PATIENCE, until
from tests.worker.rig import Rig


def test_redis_emptied_with_jobs_waiting(rig: Rig) -> None:
    jobs = [rig.submit() for _ in range(3)]
    rig.redis.flush()
    rig.start_worker()
    assert [rig.ended(job).state for job in jobs] == ["succeeded"] * 3, rig.told()
    finished = [rig.job(job).finished_at or 0 for job in jobs]
    assert finished == sorted(finished)  # still first come, first served


def test_a_message_lost_on_its_way(steady: Rig) -> None:
    steady.faults(hold="verifying")
    first = steady.submit()
    steady.process_at("verifying")
    second = steady.submit()
    with steady.redis.client() as client:
        assert client.lpop("merge") is not None
    steady.faults()
    assert [steady.ended(job).state for job in (first, second)] == ["succeeded"] * 2, steady.told()


def test_redis_restarted_empty_twice_in_the_middle_of_a_merge(rig: Rig) -> None:
    rig.start_worker()
    for _ in range(2):
        rig.faults(hold="merging")
        job = rig.submit()
        rig.process_at("merging")
        rig.redis.stop()
        until(lambda job=job: rig.job(job).stage == "merging")
        rig.redis.start()
        rig.faults()
        ended = rig.ended(job)
        assert (ended.state, ended.attempt) == ("succeeded", 1), rig.told()
    assert rig.ended(rig.submit()).state == "succeeded", rig.told()


def test_handed_in_while_redis_is_down(rig: Rig) -> None:
    rig.start_worker()
    rig.redis.stop()
    job, _ = rig.store.submit(NewJob("merge", recipe="merge_method: nothing"))
    started = time.monotonic()
    assert rig.queue.send(job.id, "merge") is False
    assert time.monotonic() - started < PATIENCE
    rig.redis.start()
    assert rig.ended(job).state == "failed", rig.told()  # a worker has looked at it, and found the recipe wanting


def test_redis_frozen_does_not_hold_up_a_merge(rig: Rig) -> None:
    rig.start_worker()
    rig.faults(hold="checking")
    job = rig.submit()
    rig.process_at("checking")
    rig.redis.freeze()
    rig.faults()
    try:
        assert rig.ended(job).state == "succeeded", rig.told()
    finally:
        rig.redis.thaw()


def test_strange_messages_are_dropped(steady: Rig) -> None:
    """Whoever reaches Redis can ring, but neither run code nor command the worker."""
    app = steady.queue._celery
    canary = steady.folder / "canary"

    class Bomb:
        def __reduce__(self):
            return (canary.touch, ())

    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        headers = {"task": "merge", "id": "1", "lang": "py"}
        producer.publish(
            pickle.dumps((("x",), {}, {})), routing_key="merge", headers=headers,
            content_type="application/x-python-serialize", content_encoding="binary",
        )  # fmt: skip
        producer.publish(
            pickle.dumps(((Bomb(),), {}, {})), routing_key="merge", headers=headers,
            content_type="application/x-python-serialize", content_encoding="binary",
        )  # fmt: skip
    app.send_task("os.system", [f"touch {canary}"], queue="merge")
    app.send_task("merge", [{"id": {"$ne": None}}], queue="merge")
    app.send_task("merge", ["' OR 1=1 --"], queue="merge")
    app.send_task("merge", [], queue="merge")
    app.control.broadcast("shutdown")
    assert steady.ended(steady.submit()).state == "succeeded", steady.told()
    assert not canary.exists()
    assert steady.workers[0].poll() is None
