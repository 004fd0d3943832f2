"""Live news: complete and in order whatever happens to Redis, and never in the way of the job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from app.db import Sessions
from app.jobs.claim import Claim, Numbers
from app.jobs.events import KEPT, Event, Publisher, connect, follow, stream
from app.jobs.store import NewJob, Store
from app.settings import Settings
from tests.jobs.conftest import Clock
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE


@pytest.fixture
def with_redis(settings: Settings, redis: RedisServer) -> Settings:
    return replace(settings, redis_url=redis.url)


@pytest.fixture
def claim(database: Sessions, store: Store, clock: Clock) -> Claim:
    job, _ = store.submit(NewJob("merge"))
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=60, clock=clock)
    assert claim is not None
    return claim


def tell(publisher: Publisher, claim: Claim, text: str) -> None:
    publisher.line(claim.job.id, "log", claim.note("log", text))


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))


async def next_line(news: AsyncIterator[Event]) -> Event:
    """The next kept line; progress in between is passed over."""
    async for event in news:
        if event.id is not None:
            return event
    raise AssertionError("the news ended")


def test_history_then_live_then_the_end(
    with_redis: Settings, store: Store, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.events.LOOK_SECONDS", 3600.0)
    publisher = Publisher(with_redis)
    tell(publisher, claim, "before")

    async def scenario() -> None:
        client = connect(with_redis)
        news = follow(client, store, claim.job.id)
        assert [(await next_line(news)).data["text"] for _ in range(2)] == ["Handed in.", "before"]
        tell(publisher, claim, "after")
        assert (await next_line(news)).data["text"] == "after"  # Redis told it, not the next look at the database
        claim.succeed({})
        publisher.line(claim.job.id, "done")
        last = await next_line(news)
        assert (last.kind, last.data["state"]) == ("done", "succeeded")
        assert [event async for event in news] == []
        await client.aclose()

    run(scenario)
    publisher.close()


def test_a_page_that_comes_back_misses_and_repeats_nothing(with_redis: Settings, store: Store, claim: Claim) -> None:
    for number in range(20):
        claim.note("log", str(number))

    async def scenario() -> None:
        client = connect(with_redis)
        first = follow(client, store, claim.job.id)
        seen = [await next_line(first) for _ in range(7)]
        await first.aclose()
        claim.stop()
        rest = [event async for event in follow(client, store, claim.job.id, seen[-1].id or 0)]
        texts = [event.data["text"] for event in [*seen, *rest]]
        assert texts == ["Handed in.", *map(str, range(20)), "Cancelled."]
        await client.aclose()

    run(scenario)


def test_progress_is_live_and_at_most_four_a_second(
    with_redis: Settings, redis: RedisServer, store: Store, claim: Claim
) -> None:
    now = Clock()
    publisher = Publisher(with_redis, now)

    async def scenario() -> None:
        client = connect(with_redis)
        news = follow(client, store, claim.job.id)
        await next_line(news)
        waiting = asyncio.ensure_future(anext(news))
        while not waiting.done():
            for _ in range(10):
                now.now += 0.01
                publisher.progress(claim.job.id, "merging", Numbers(tensors_done=3, tensors_total=9), "a.weight")
            await asyncio.sleep(0.05)
        event = await waiting
        assert (event.kind, event.id) == ("progress", None)
        assert (event.data["tensors_done"], event.data["tensor"], event.data["stage"]) == (3, "a.weight", "merging")
        await client.aclose()

    run(scenario)
    with redis.client() as client:
        client.delete(stream(claim.job.id))
    for _ in range(1000):
        now.now += 0.01
        publisher.progress(claim.job.id, "merging", Numbers())
    with redis.client() as client:
        assert 38 <= client.xlen(stream(claim.job.id)) <= 41  # ten seconds
    publisher.close()


def test_a_stream_stays_small_and_goes_away(with_redis: Settings, redis: RedisServer, claim: Claim) -> None:
    publisher = Publisher(with_redis)
    for _ in range(KEPT + 500):
        publisher.line(claim.job.id, "log", 1)
    with redis.client() as client:
        assert client.xlen(stream(claim.job.id)) < KEPT + 200
        assert 0 < client.ttl(stream(claim.job.id)) <= 7 * 24 * 3600
    publisher.close()


def test_redis_emptied_and_restarted_under_a_follower(
    with_redis: Settings, redis: RedisServer, store: Store, claim: Claim
) -> None:
    publisher = Publisher(with_redis)

    async def scenario() -> None:
        client = connect(with_redis)
        news = follow(client, store, claim.job.id)
        await next_line(news)
        tell(publisher, claim, "one")
        assert (await next_line(news)).data["text"] == "one"
        redis.flush()
        tell(publisher, claim, "two")
        assert (await next_line(news)).data["text"] == "two"
        await asyncio.to_thread(redis.stop)
        tell(publisher, claim, "three")
        assert (await next_line(news)).data["text"] == "three"
        await asyncio.to_thread(redis.start)
        tell(publisher, claim, "four")
        assert (await next_line(news)).data["text"] == "four"
        await client.aclose()

    run(scenario)
    publisher.close()


def test_without_redis_the_row_tells_the_progress(settings: Settings, store: Store, claim: Claim) -> None:
    nowhere = replace(settings, redis_url=f"unix://{settings.data}/nothing.sock")
    claim.renew(Numbers(tensors_done=5, tensors_total=8))

    async def scenario() -> None:
        client = connect(nowhere)
        news = follow(client, store, claim.job.id)
        await next_line(news)
        event = await anext(news)
        assert (event.kind, event.data["tensors_done"], event.data["tensors_total"]) == ("progress", 5, 8)
        await client.aclose()

    run(scenario)


def test_an_older_row_does_not_turn_progress_back(with_redis: Settings, store: Store, claim: Claim) -> None:
    publisher = Publisher(with_redis)
    claim.enter("merging", Numbers(bytes_done=10, bytes_total=100), "Merging.")

    async def scenario() -> None:
        client = connect(with_redis)
        news = follow(client, store, claim.job.id)
        assert (await next_line(news)).data["text"] == "Handed in."
        assert (await next_line(news)).data["text"] == "Merging."
        waiting = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0)
        while not waiting.done():
            publisher.progress(claim.job.id, "merging", Numbers(bytes_done=50, bytes_total=100))
            await asyncio.sleep(0.05)
        assert (await waiting).data["bytes_done"] == 50
        tell(publisher, claim, "a line, and with it a look at the row")
        seen = [await anext(news)]
        while seen[-1].data.get("text") != "a line, and with it a look at the row":
            seen.append(await anext(news))
        claim.renew(Numbers(bytes_done=60, bytes_total=100))
        while seen[-1].data.get("bytes_done") != 60:
            seen.append(await anext(news))
        done = [event.data["bytes_done"] for event in seen if event.kind == "progress"]
        assert min(done) >= 50
        await client.aclose()

    run(scenario)
    publisher.close()


def test_a_job_nobody_knows_has_no_news(with_redis: Settings, store: Store) -> None:
    async def scenario() -> None:
        client = connect(with_redis)
        assert [event async for event in follow(client, store, "0" * 32)] == []
        await client.aclose()

    run(scenario)


def test_a_frozen_redis_hardly_slows_the_job(with_redis: Settings, redis: RedisServer, claim: Claim) -> None:
    publisher = Publisher(with_redis)
    publisher.line(claim.job.id, "log", 1)
    redis.freeze()
    started = time.monotonic()
    for _ in range(100):
        publisher.line(claim.job.id, "log", 1)
    assert time.monotonic() - started < PATIENCE
    redis.thaw()
    publisher.close()
