"""Event streams: complete over reconnects and restarts, bounded, and never in the way of a shutdown."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.claim import Claim, Numbers
from app.jobs.events import Event, Publisher
from app.jobs.models import Job, JobEvent
from app.jobs.store import NewJob, Store
from app.main import create_app
from app.settings import Settings
from app.web.events import starting_line
from app.web.limits import STREAMS_PER_CLIENT
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE
from tests.web.conftest import browser
from tests.web.server import WebServer

Message = dict[str, str]


def messages(lines: Iterator[str]) -> Iterator[Message]:
    """Server-sent events off the wire, by the rules of the HTML standard; comments are left out."""
    fields: Message = {}
    for line in lines:
        if line == "":
            if fields:
                yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value


@pytest.fixture
def job(store: Store) -> Job:
    return store.submit(NewJob("merge"))[0]


@pytest.fixture
def claim(database: Sessions, job: Job) -> Claim:
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=600)
    assert claim is not None
    return claim


@pytest.fixture
def client(with_redis: Settings) -> Iterator[TestClient]:
    with browser(create_app(with_redis)) as client:
        yield client


@pytest.fixture
def publisher(with_redis: Settings) -> Iterator[Publisher]:
    publisher = Publisher(with_redis)
    yield publisher
    publisher.close()


@pytest.fixture
def server(with_redis: Settings, tmp_path: Path) -> Iterator[WebServer]:
    server = WebServer(with_redis, tmp_path / "web.log")
    yield server
    server.stop()


def tell(publisher: Publisher, claim: Claim, text: str) -> None:
    publisher.line(claim.job.id, "log", claim.note("log", text))


def test_the_whole_story_of_an_ended_job(client: TestClient, claim: Claim) -> None:
    claim.note("log", "two\nlines")
    claim.succeed({})
    answer = client.get(f"/api/jobs/{claim.job.id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, end = messages(iter(answer.text.split("\n")))
    told = [json.loads(line["data"]) for line in lines]
    assert [one["text"] for one in told] == ["Handed in.", "two\nlines", "Done."]
    assert (told[-1]["kind"], told[-1]["state"]) == ("done", "succeeded")
    numbers = [int(line["id"]) for line in lines]
    assert numbers == sorted(set(numbers))
    assert end["event"] == "done"


def test_a_reader_that_comes_back_gets_the_rest(client: TestClient, claim: Claim) -> None:
    for number in range(5):
        claim.note("log", str(number))
    claim.succeed({})
    address = f"/api/jobs/{claim.job.id}/events"
    *lines, _ = messages(iter(client.get(address).text.split("\n")))
    for seen, line in enumerate(lines, start=1):
        for answer in (
            client.get(f"{address}?after={line['id']}"),
            client.get(address, headers={"Last-Event-ID": line["id"]}),
            client.get(f"{address}?after=0", headers={"Last-Event-ID": line["id"]}),
            client.get(f"{address}?after={2**63 - 1}", headers={"Last-Event-ID": line["id"]}),
        ):
            *rest, end = messages(iter(answer.text.split("\n")))
            assert rest == lines[seen:]
            assert end["event"] == "done"


@given(st.integers(0, 2**63 - 1), st.text(max_size=30))
def test_a_last_event_id_of_any_text_is_harmless(after: int, text: str) -> None:
    line = starting_line(after, text)
    assert line == after or str(line) == text.strip().lstrip("0") or (line == 0 and set(text.strip()) == {"0"})


@pytest.mark.parametrize("query", ["after=-1", f"after={2**63}", "after=x", "after=1e3"])
def test_after_must_be_a_line(client: TestClient, job: Job, query: str) -> None:
    answer = client.get(f"/api/jobs/{job.id}/events?{query}")
    assert (answer.status_code, answer.json()["findings"][0]["where"]) == (422, "address: after")


@pytest.mark.parametrize("job_id", ["nothing", "0" * 32, "0" * 5000, "%00" * 32])
def test_no_such_job(client: TestClient, job_id: str) -> None:
    assert client.get(f"/api/jobs/{job_id}/events").status_code == 404
    assert client.get(f"/jobs/{job_id}/events").status_code == 404


def test_the_page_gets_what_its_renderer_makes(with_redis: Settings, claim: Claim) -> None:
    claim.note("log", "a line")
    claim.succeed({})

    def render(event: Event, job: Job) -> str:
        return "" if event.kind == "done" else f"<p>\n{job.state}: {event.data['text']}\r</p>"

    app = create_app(with_redis)
    app.state.render_event = render
    with browser(app) as client:
        first, second, last, end = messages(iter(client.get(f"/jobs/{claim.job.id}/events").text.split("\n")))
    assert first["data"] == "<p>\nsucceeded: Handed in.\n</p>"
    assert second["data"] == "<p>\nsucceeded: a line\n</p>"
    assert set(last) == {"id"}
    assert end["event"] == "done"


def test_live_over_a_restart_of_the_server(
    with_redis: Settings, tmp_path: Path, claim: Claim, publisher: Publisher
) -> None:
    """F14: the browser comes back to the new server with Last-Event-ID; no line is missed, none told twice."""
    address = f"/api/jobs/{claim.job.id}/events"
    server = WebServer(with_redis, tmp_path / "web.log")
    seen: list[Message] = []
    with httpx2.stream("GET", server.url + address, timeout=30) as answer:
        news = messages(answer.iter_lines())
        seen.append(next(news))
        for number in range(3):
            tell(publisher, claim, f"before {number}")
            seen.append(next_line(news))
        server.stop()
        assert "event" not in dict.fromkeys(key for message in news for key in message)
    tell(publisher, claim, "while nobody listened")
    server = WebServer(with_redis, tmp_path / "web.log", server.port)
    try:
        with httpx2.stream(
            "GET", server.url + address, headers={"Last-Event-ID": seen[-1]["id"]}, timeout=30
        ) as answer:
            news = messages(answer.iter_lines())
            seen.append(next_line(news))
            tell(publisher, claim, "after")
            seen.append(next_line(news))
            claim.succeed({})
            publisher.line(claim.job.id, "done")
            seen.append(next_line(news))
            assert next(news)["event"] == "done"
    finally:
        server.stop()
    assert [json.loads(one["data"])["text"] for one in seen] == [
        "Handed in.", "before 0", "before 1", "before 2", "while nobody listened", "after", "Done.",
    ]  # fmt: skip
    assert "Traceback" not in server.log()


def next_line(news: Iterator[Message]) -> Message:
    return next(message for message in news if "id" in message)


def test_progress_is_told_without_a_number(server: WebServer, claim: Claim, publisher: Publisher) -> None:
    with httpx2.stream("GET", f"{server.url}/api/jobs/{claim.job.id}/events", timeout=30) as answer:
        news = messages(answer.iter_lines())
        next(news)
        deadline = time.monotonic() + 20
        while True:
            publisher.progress(claim.job.id, "merging", Numbers(tensors_done=7, tensors_total=9), "lm_head.weight")
            message = next(news)
            told = json.loads(message["data"])
            if told.get("tensors_done") == 7:
                break
            assert time.monotonic() < deadline
    assert "id" not in message
    assert (told["kind"], told["stage"], told["tensor"]) == ("progress", "merging", "lm_head.weight")


def test_streams_of_one_client_are_limited_and_given_back(server: WebServer, job: Job) -> None:
    address = f"{server.url}/api/jobs/{job.id}/events"
    with contextlib.ExitStack() as open_streams:
        for _ in range(STREAMS_PER_CLIENT):
            answer = open_streams.enter_context(httpx2.stream("GET", address, timeout=30))
            assert answer.status_code == 200
        refused = httpx2.get(address, timeout=30)
        assert (refused.status_code, refused.json()["findings"][0]["code"]) == (429, "too-many-streams")
        assert httpx2.get(f"{server.url}/api/methods").status_code == 200
    deadline = time.monotonic() + 20
    while True:
        with httpx2.stream("GET", address, timeout=30) as answer:
            if answer.status_code == 200:
                return
        assert time.monotonic() < deadline


def test_clients_that_never_read_cost_no_memory_and_no_shutdown(
    with_redis: Settings, tmp_path: Path, database: Sessions, claim: Claim, publisher: Publisher
) -> None:
    """F15: 200 sockets that ask and never read, while the job tells 20 MB to each. The server stays small, answers
    others at once, and stops. Unbounded, the 16 streams it grants would hold 320 MB."""
    server = WebServer(with_redis, tmp_path / "web.log", grace=3)
    with contextlib.ExitStack() as sockets:
        sockets.callback(server.stop)
        request = f"GET /api/jobs/{claim.job.id}/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        for _ in range(200):
            silent = sockets.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", server.port))))
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.sendall(request)
        assert httpx2.get(f"{server.url}/healthz", timeout=PATIENCE).status_code == 200
        before = psutil.Process(server.pid).memory_info().rss
        with database.begin() as session:
            line = {"job_id": claim.job.id, "at": 0.0, "kind": "log", "text": "x" * 1000, "data": {}}
            session.execute(insert(JobEvent), [line] * 20_000)
        publisher.line(claim.job.id, "log")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            assert httpx2.get(f"{server.url}/healthz", timeout=PATIENCE).status_code == 200
        assert psutil.Process(server.pid).memory_info().rss - before < 120e6
        server.stop()


def test_a_stream_without_redis_still_ends(
    own_redis: RedisServer, settings: Settings, tmp_path: Path, claim: Claim
) -> None:
    server = WebServer(replace(settings, redis_url=own_redis.url), tmp_path / "web.log")
    try:
        with httpx2.stream("GET", f"{server.url}/api/jobs/{claim.job.id}/events", timeout=30) as answer:
            news = messages(answer.iter_lines())
            next(news)
            own_redis.stop()
            claim.note("log", "alone")
            assert json.loads(next_line(news)["data"])["text"] == "alone"
            claim.stop()
            assert json.loads(next_line(news)["data"])["state"] == "cancelled"
            assert next(news)["event"] == "done"
    finally:
        server.stop()
