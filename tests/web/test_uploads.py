"""Handing in uploads: the token goes into the vault and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from app.accounts.vault import Vault
from app.db import Sessions
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.settings import Settings
from tests.support.redis import RedisServer
from tests.web.artifacts import finished_job
from tests.web.conftest import TOKEN
from tests.web.test_jobs import queued


@pytest.fixture
def finished(database: Sessions, settings: Settings) -> Job:
    return finished_job(database, settings, {"model.safetensors": b"weights"})


def send_up(client: TestClient, job: Job, key: str | None = None, **body: Any):
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(
        f"/api/jobs/{job.id}/upload", json={"repo": "alice/merged", "token": TOKEN, **body}, headers=headers
    )


def test_an_upload_is_handed_in(
    online: TestClient, finished: Job, store: Store, database: Sessions, with_hub: Settings, redis: RedisServer
) -> None:
    answer = send_up(online, finished)
    assert answer.status_code == 202
    upload = store.get(answer.json()["id"])
    assert upload is not None
    assert (upload.kind, upload.source_job, upload.state) == ("upload", finished.id, "queued")
    assert upload.params == {"repo": "alice/merged", "private": True}
    assert upload.token_id is not None
    assert Vault(with_hub, database).get(upload.token_id) == TOKEN
    assert queued(redis, "io") == [[upload.id]]


def test_the_token_is_seen_nowhere(
    online: TestClient, finished: Job, redis: RedisServer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """T1, T3: not in the answers, not in Redis, not in the log, and on the disk only encrypted."""
    caplog.set_level("DEBUG")
    answers = [
        send_up(online, finished),
        send_up(online, finished),
        send_up(online, finished, repo="x"),
        send_up(online, finished, private="maybe"),
    ]
    upload = answers[0].json()["id"]
    answers += [
        online.get(path) for path in ("/api/jobs", f"/api/jobs/{upload}", f"/api/jobs/{finished.id}", "/openapi.json")
    ]
    assert [answer.status_code for answer in answers] == [202, 409, 422, 422, 200, 200, 200, 200]
    for answer in answers:
        assert TOKEN not in answer.text + str(answer.headers)
    assert not [one for one in caplog.records if TOKEN in f"{one.getMessage()} {one.args} {one.exc_info}"]
    with redis.client() as client:
        for key in client.scan_iter():
            assert TOKEN.encode() not in client.dump(key)
    for path in settings.data.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("body", "where"),
    [({"repo": ""}, "repo"), ({"repo": "alice"}, "repo"), ({"repo": "alice/../x"}, "repo"), ({"repo": "a/b/c"}, "repo"),
     ({"repo": "https://evil.test/x"}, "repo"), ({"repo": "x" * 500}, "repo"), ({"repo": None}, "repo"),
     ({"token": ""}, "token"), ({"token": "hf"}, "token"), ({"token": "hf_a b c d e f"}, "token"),
     ({"token": "hf_\x00aaaaaaa"}, "token"), ({"token": 7}, "token"), ({"token": "ä" * 20}, "token"),
     ({"token": "h" * 501}, "token"), ({"private": "maybe"}, "private")],
)  # fmt: skip
def test_bad_uploads(online: TestClient, finished: Job, store: Store, body: dict[str, Any], where: str) -> None:
    answer = send_up(online, finished, **body)
    assert answer.status_code == 422
    assert where in answer.json()["findings"][0]["where"]
    assert store.count(kind="upload") == 0


def test_only_a_finished_merge_is_uploaded(online: TestClient, finished: Job, store: Store) -> None:
    waiting, _ = store.submit(NewJob("merge"))
    upload = store.get(send_up(online, finished).json()["id"])
    assert upload is not None
    for job in (waiting, upload):
        answer = send_up(online, job)
        assert (answer.status_code, answer.json()["findings"][0]["code"]) == (409, "nothing-to-upload")


def test_a_double_click_uploads_once(online: TestClient, finished: Job, store: Store, database: Sessions) -> None:
    first = send_up(online, finished, key="k").json()
    assert send_up(online, finished, key="k").json() == first
    assert send_up(online, finished, key="k", repo="alice/other").status_code == 409
    assert send_up(online, finished).json()["findings"][0]["code"] == "upload-under-way"
    assert send_up(online, finished, repo="alice/other").status_code == 202
    assert store.count(kind="upload") == 2
    with database() as session:
        assert session.execute(text("SELECT count(*) FROM secret")).scalar() == 2
