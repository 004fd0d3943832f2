"""What must hold for every address there is: made from the route table, so that a new route cannot be forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.models import Job
from app.main import ROUTERS, create_app
from app.settings import Settings
from tests.web.artifacts import finished_job
from tests.web.conftest import browser
from tests.web.test_security import missing_headers

ROUTES = sorted(
    {(method, route.path) for router in ROUTERS for route in router.routes for method in route.methods}  # type: ignore[attr-defined]
)
HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"


@pytest.fixture
def job(database: Sessions, settings: Settings) -> Job:
    return finished_job(database, settings, {"model.safetensors": b"weights"})


def filled(path: str, **values: str) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
    return path


def test_the_table_is_complete(app: FastAPI) -> None:
    assert len(ROUTES) >= 15
    for must in (
        ("GET", "/healthz"), ("GET", "/api/methods"), ("GET", "/api/models/search"), ("GET", "/api/models/facts"),
        ("POST", "/api/recipes/check"), ("POST", "/api/jobs"), ("GET", "/api/jobs"), ("GET", "/api/jobs/{job_id}"),
        ("POST", "/api/jobs/{job_id}/cancel"), ("POST", "/api/jobs/{job_id}/upload"),
        ("GET", "/api/jobs/{job_id}/files/{name:path}"), ("HEAD", "/api/jobs/{job_id}/files/{name:path}"),
        ("GET", "/jobs/{job_id}/events"), ("GET", "/api"), ("GET", "/docs"),
    ):  # fmt: skip
        assert must in ROUTES


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("known", [True, False])
def test_headers_and_form(client: TestClient, job: Job, method: str, path: str, known: bool) -> None:
    job_id = job.id if known else "0" * 32
    address = filled(path, job_id=job_id, name="model.safetensors")
    for headers in ({}, {"HX-Request-Type": "partial"}, {"Range": "bytes=0-0"}, {"Accept": "text/html"}):
        answer = client.request(method, address, headers=headers)
        assert answer.status_code != 500
        assert missing_headers(answer.headers) == {}
        assert "cache-control" in answer.headers
        assert "set-cookie" not in answer.headers
        if answer.status_code >= 400 and path.startswith("/api/"):
            assert method == "HEAD" or answer.json()["findings"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_other_sites_may_not_change_anything(client: TestClient, job: Job, method: str, path: str) -> None:
    if method in ("GET", "HEAD"):
        return
    address = filled(path, job_id=job.id, name="x")
    for headers in (
        {"Origin": "http://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8300"},
    ):  # fmt: skip
        answer = client.request(method, address, headers=headers, json={})
        assert answer.status_code == 403
    assert client.request(method, address, headers={"Host": "evil.test"}, json={}).status_code == 421


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_hostile_values_in_addresses_are_never_echoed_as_they_are(client: TestClient, method: str, path: str) -> None:
    address = filled(path, job_id="%3Cscript%3Ealert(1)%3C%2Fscript%3E%E2%80%AE", name="%3Cscript%3E%1B%5B31m")
    query: dict[str, Any] = dict.fromkeys(("q", "ref", "after", "state", "method", "seed", "recipe", "r"), HOSTILE)
    answer = client.request(method, address, params=query)
    assert answer.status_code != 500
    assert "<script>alert" not in answer.text or answer.headers["content-type"] == "application/json"
    assert not {"\u202e", "\x1b"} & set(answer.text)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_crash_anywhere_tells_no_secret(settings: Settings, method: str, path: str) -> None:
    """Everything a handler stands on is broken: each answers, none with a traceback."""
    app = create_app(settings)
    with browser(app) as client:
        whole = app.state.services
        app.state.services = None
        answer = client.request(
            method, filled(path, job_id="0" * 32, name="x"), json={"recipe": "", "repo": "", "token": ""}
        )
        app.state.services = whole
    assert "Traceback" not in answer.text
    assert "NoneType" not in answer.text
    assert missing_headers(answer.headers) == {}
