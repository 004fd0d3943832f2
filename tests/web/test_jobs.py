"""Handing jobs in, looking at them, cancelling and uploading: the API over a real database and a real Redis."""

from __future__ import annotations

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.claim import Claim, Numbers
from app.jobs.store import NewJob, Store
from app.main import create_app
from app.recipe.findings import Finding
from app.recipe.reading import read_recipe
from app.settings import Settings
from tests.support.hub import StandInHub
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE
from tests.web.artifacts import finished_job
from tests.web.conftest import browser
from tests.web.test_recipes import TIES


def hand_in(client: TestClient, recipe: str = TIES, key: str | None = None, **more: Any):
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/api/jobs", json={"recipe": recipe, **more}, headers=headers)


def queued(redis: RedisServer, queue: str) -> list[list[str]]:
    """The arguments of the messages that wait in a queue."""
    with redis.client() as client:
        bodies = [json.loads(message) for message in client.lrange(queue, 0, -1)]
    return [json.loads(base64.b64decode(body["body"]))[0] for body in bodies]


def test_a_merge_is_handed_in(online: TestClient, store: Store, hub: StandInHub, redis: RedisServer) -> None:
    answer = hand_in(online, seed=7)
    assert answer.status_code == 202
    job_id = answer.json()["id"]
    assert answer.json() == {"id": job_id, "url": f"/jobs/{job_id}"}
    assert answer.headers["location"] == f"/api/jobs/{job_id}"
    job = store.get(job_id)
    assert job is not None
    assert (job.kind, job.state, job.recipe, job.seed) == ("merge", "queued", TIES, 7)
    assert queued(redis, "merge") == [[job_id]]
    assert job.sent_at is not None
    pinned = read_recipe(job.pinned or "").recipe
    assert pinned is not None
    assert {(one.name, one.revision) for one in pinned.parents()} == {
        (name, hub.commit_of(name)) for name in ("loom/base", "loom/code", "loom/prose")
    }
    assert job.parents == [str(one) for one in pinned.parents()]
    assert job.title == "code × prose"


def test_a_merge_may_be_told_to_store_no_parent(online: TestClient, store: Store) -> None:
    told, untold = (store.get(hand_in(online, **more).json()["id"]) for more in ({"stream": True}, {}))
    assert told is not None
    assert untold is not None
    assert (told.params, untold.params) == ({"stream": True}, {})


def test_what_a_waiting_job_looks_like(online: TestClient) -> None:
    job_id = hand_in(online).json()["id"]
    told = online.get(f"/api/jobs/{job_id}").json()
    assert (told["id"], told["state"], told["stage"], told["error"], told["artifact"]) == (
        job_id,
        "queued",
        None,
        None,
        None,
    )
    assert told["progress"] == {
        "tensors_done": 0, "tensors_total": 0, "bytes_done": 0, "bytes_total": 0, "eta_seconds": None,
    }  # fmt: skip
    assert (told["recipe"], told["seed"], told["started_at"], told["finished_at"]) == (TIES, 0, None, None)
    listed = online.get("/api/jobs").json()
    assert listed == {"jobs": [told], "total": 1}


def test_a_running_and_a_failed_job(online: TestClient, database: Sessions) -> None:
    job_id = hand_in(online).json()["id"]
    claim = Claim.take(database, job_id, worker="w", pid=1, lease=60)
    assert claim is not None
    claim.enter("merging", Numbers(3, 9, 300, 900, 50.0, 12.0), "Merging.")
    told = online.get(f"/api/jobs/{job_id}").json()
    assert (told["state"], told["stage"]) == ("running", "merging")
    assert told["progress"] == {
        "tensors_done": 3, "tensors_total": 9, "bytes_done": 300, "bytes_total": 900, "eta_seconds": 12.0,
    }  # fmt: skip
    claim.fail([Finding("error", "disk-full", "data", "The disk is full.", "Free some.")])
    told = online.get(f"/api/jobs/{job_id}").json()
    assert told["state"] == "failed"
    assert told["error"] == [
        {"level": "error", "code": "disk-full", "where": "data", "text": "The disk is full.", "fix": "Free some."}
    ]


def test_a_finished_job_lists_its_files(client: TestClient, database: Sessions, settings: Settings) -> None:
    job = finished_job(database, settings, {"model.safetensors": b"weights", "a b#c.json": b"{}"})
    told = client.get(f"/api/jobs/{job.id}").json()
    assert told["state"] == "succeeded"
    files = told["artifact"]["files"]
    assert [(file["name"], file["size"]) for file in files] == [("model.safetensors", 7), ("a b#c.json", 2)]
    assert [client.get(file["url"]).content for file in files] == [b"weights", b"{}"]
    assert client.get(files[0]["url"]).headers["etag"] == f'"{files[0]["sha256"]}"'


def test_errors_of_the_check_start_nothing(online: TestClient, store: Store, redis: RedisServer) -> None:
    answer = hand_in(online, TIES.replace("ties", "tise"))
    assert answer.status_code == 422
    assert any('"ties"' in finding["fix"] + finding["text"] for finding in answer.json()["findings"])
    assert store.count() == 0
    assert queued(redis, "merge") == []


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", '"x"', "{}", '{"recipe": null}', '{"recipe": 5}', '{"recipe": ["a"]}',
     '{"recipe": "a", "seed": "x"}', '{"recipe": "a", "seed": -1}', '{"recipe": "a", "seed": 1.5}',
     '{"recipe": "a", "seed": 9223372036854775808}', '{"recipe": "a", "seed": 1e400}', '{"recipe": "\\ud800"}',
     '{"recipe": "a\\u0000b"}', '{"recipe": "a", "seed": NaN}', '{"recipe": "a", "seed": ' + "9" * 5000 + "}",
     "[" * 100_000],
)  # fmt: skip
def test_bad_bodies(online: TestClient, store: Store, body: str) -> None:
    answer = online.post("/api/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["findings"][0]["level"] == "error"
    assert store.count() == 0


def test_a_body_must_say_that_it_is_json(online: TestClient, store: Store) -> None:
    """A form of another site can send text/plain without asking first; JSON it cannot."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = online.post("/api/jobs", content=json.dumps({"recipe": TIES}), headers={"Content-Type": kind})
        assert answer.status_code == 422
    assert store.count() == 0


def test_twenty_clicks_make_one_job(with_hub: Settings, store: Store, redis: RedisServer) -> None:
    """F35."""
    with browser(create_app(with_hub)) as client:
        together = threading.Barrier(20)

        def click(_: int) -> tuple[int, str]:
            together.wait()
            answer = hand_in(client, key="a-random-word")
            return answer.status_code, answer.json()["id"]

        with ThreadPoolExecutor(20) as pool:
            answers = set(pool.map(click, range(20)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 202
    assert store.count() == 1
    assert len(queued(redis, "merge")) == 1


def test_without_a_key_each_click_makes_one(online: TestClient, store: Store) -> None:
    assert hand_in(online).json()["id"] != hand_in(online).json()["id"]
    assert store.count() == 2


def test_a_key_belongs_to_one_recipe(online: TestClient, store: Store) -> None:
    first = hand_in(online, key="k").json()["id"]
    for answer in (hand_in(online, TIES + "\n", key="k"), hand_in(online, key="k", seed=3)):
        assert (answer.status_code, answer.json()["findings"][0]["code"]) == (409, "key-reused")
    assert hand_in(online, key="k").json()["id"] == first
    assert store.count() == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 201, "k" * 2000, "k\x7f", "kä"])
def test_bad_keys(online: TestClient, store: Store, key: str) -> None:
    answer = online.post("/api/jobs", json={"recipe": TIES}, headers={"Idempotency-Key": key.encode("latin-1")})
    assert answer.status_code == 422
    assert store.count() == 0


def test_without_redis_the_job_waits(with_hub: Settings, store: Store) -> None:
    """F9: never a lost click; the workers find the row by themselves."""
    with browser(create_app(replace(with_hub, redis_url=None))) as client:
        answer = hand_in(client)
    assert answer.status_code == 202
    job = store.get(answer.json()["id"])
    assert job is not None
    assert (job.state, job.sent_at) == ("queued", None)


def test_a_redis_that_hangs_holds_no_click_up(with_hub: Settings, own_redis: RedisServer, store: Store) -> None:
    """F10: bounded in time, and the job is safe in the database."""
    with browser(create_app(replace(with_hub, redis_url=own_redis.url))) as client:
        assert hand_in(client).status_code == 202
        own_redis.freeze()
        try:
            started = time.monotonic()
            answer = hand_in(client)
            assert time.monotonic() - started < PATIENCE
            assert answer.status_code == 202
            assert client.get(f"/api/jobs/{answer.json()['id']}").json()["state"] == "queued"
        finally:
            own_redis.thaw()
    assert store.count() == 2


def test_lists_are_filtered_and_paged(client: TestClient, store: Store) -> None:
    ids = [store.submit(NewJob("merge", title=str(number)))[0].id for number in range(5)]
    store.request_cancel(ids[0])
    assert client.get("/api/jobs?state=cancelled").json()["jobs"][0]["id"] == ids[0]
    assert client.get("/api/jobs?state=cancelled&state=queued").json()["total"] == 5
    assert client.get("/api/jobs?state=running").json() == {"jobs": [], "total": 0}
    paged = [client.get(f"/api/jobs?limit=2&offset={offset}").json()["jobs"] for offset in (0, 2, 4)]
    assert [job["id"] for page in paged for job in page] == [
        job["id"] for job in client.get("/api/jobs").json()["jobs"]
    ]
    for query in ("limit=0", "limit=201", "offset=-1", "state=nothing", f"offset={2**70}"):
        assert client.get(f"/api/jobs?{query}").status_code == 422


def test_cancelling_a_waiting_job(client: TestClient, store: Store) -> None:
    job, _ = store.submit(NewJob("merge"))
    answer = client.post(f"/api/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert client.post(f"/api/jobs/{job.id}/cancel").json()["state"] == "cancelled"


def test_cancelling_a_running_job_asks_its_worker(client: TestClient, store: Store, database: Sessions) -> None:
    job, _ = store.submit(NewJob("merge"))
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=60)
    assert claim is not None
    answer = client.post(f"/api/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["state"], answer.json()["cancel_requested"]) == (200, "running", True)
    assert claim.renew() is True


def test_what_has_ended_cannot_be_cancelled(client: TestClient, database: Sessions, settings: Settings) -> None:
    job = finished_job(database, settings, {"x": b""})
    answer = client.post(f"/api/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["findings"][0]["code"]) == (409, "already-ended")
    assert client.post(f"/api/jobs/{'0' * 32}/cancel").status_code == 404
