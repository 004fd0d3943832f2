"""Every failure is told in one form: findings to programs, a page to people; never a traceback, never a secret."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, SecretStr
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from app.main import create_app
from app.recipe.findings import refuse
from app.settings import Settings
from app.web.errors import not_found
from app.web.rendering import Templates
from app.web.static_files import Static
from tests.web.conftest import application, browser
from tests.web.test_security import missing_headers

SECRET = "hf_CANARYCANARYCANARYCANARY"


class Body(BaseModel):
    number: int
    token: SecretStr


def _failing(app: FastAPI) -> None:
    """Routes that fail, under both kinds of address."""

    def crash() -> None:
        raise ZeroDivisionError(SECRET)

    def refused() -> None:
        raise refuse("two-words", "models[1]", "No \x1b[31msuch\u202e parent.", "Name another.")

    def missing() -> None:
        raise not_found("There is no such job.", "abc")

    def teapot() -> None:
        raise HTTPException(418, "I am a teapot", headers={"X-Tea": "Earl Grey"})

    def takes(body: Body) -> str:
        return body.token.get_secret_value()

    for prefix in ("/api/test", "/test"):
        app.add_api_route(f"{prefix}/crash", crash)
        app.add_api_route(f"{prefix}/refused", refused)
        app.add_api_route(f"{prefix}/missing", missing)
        app.add_api_route(f"{prefix}/teapot", teapot)
        app.add_api_route(f"{prefix}/takes", takes, methods=["POST"])


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return application("failing", settings, _failing)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("crash", 500, "internal"), ("refused", 422, "two-words"), ("missing", 404, "not-found"),
     ("teapot", 418, "refused"), ("takes", 405, "wrong-method"), ("nowhere", 404, "not-found")],
)  # fmt: skip
def test_programs_get_findings(client: TestClient, path: str, status: int, code: str) -> None:
    answer = client.get(f"/api/test/{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    (finding,) = answer.json()["findings"]
    assert set(finding) == {"level", "code", "where", "text", "fix"}
    assert (finding["level"], finding["code"]) == ("error", code)
    assert missing_headers(answer.headers) == {}


@pytest.mark.parametrize(
    ("path", "status"),
    [("crash", 500), ("refused", 422), ("missing", 404), ("teapot", 418), ("takes", 405), ("nowhere", 404)],
)
@pytest.mark.parametrize("kind", ["full", "partial"])
def test_people_get_a_page(client: TestClient, path: str, status: int, kind: str) -> None:
    answer = client.get(f"/test/{path}", headers={"HX-Request-Type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Traceback" not in answer.text
    assert missing_headers(answer.headers) == {}


@pytest.mark.parametrize(
    ("path", "title"),
    [("crash", "Something went wrong"), ("refused", "That did not work"), ("missing", "Not found")],
)
def test_the_page_is_called_by_what_happened_in_plain_words(client: TestClient, path: str, title: str) -> None:
    page = client.get(f"/test/{path}").text
    assert f"<h1>{title}</h1>" in page
    assert f"<title>{title}" in page


def test_a_finding_is_shown_without_what_could_lie(client: TestClient) -> None:
    told = client.get("/api/test/refused").json()["findings"][0]["text"]
    assert told == "No \ufffd[31msuch\ufffd parent."
    page = client.get("/test/refused").text
    assert "Name another." in page
    assert not {"\x1b", "\u202e"} & set(page)


@pytest.mark.parametrize("prefix", ["/api/test", "/test"])
def test_a_crash_tells_an_id_and_the_log_tells_the_rest(
    client: TestClient, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = client.get(f"{prefix}/crash")
    assert SECRET not in answer.text
    assert "ZeroDivisionError" not in answer.text
    (record,) = [one for one in caplog.records if one.name == "app.web.errors"]
    error_id = record.getMessage().split()[1]
    assert len(error_id) == 12
    assert error_id in answer.text
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("prefix", ["/api/test", "/test"])
@pytest.mark.parametrize("body", [{"number": "x", "token": SECRET}, {"number": SECRET}, {"token": [SECRET]}, SECRET])
def test_a_bad_body_names_the_field_and_never_repeats_the_value(client: TestClient, prefix: str, body: object) -> None:
    answer = client.post(f"{prefix}/takes", json=body)
    assert answer.status_code == 422
    assert SECRET not in answer.text
    assert "body" in answer.text or prefix == "/test"


def test_headers_of_an_error_stay(client: TestClient) -> None:
    assert client.get("/api/test/teapot").headers["x-tea"] == "Earl Grey"
    assert client.get("/api/test/takes").headers["allow"] == "POST"


@pytest.mark.parametrize("broken", [None, "{{ nowhere.to_be_found }}", "{% if %}", "{{ static('none.css') }}"])
def test_when_the_error_page_itself_fails_a_plain_one_goes_out(
    settings: Settings, tmp_path: Path, broken: str | None
) -> None:
    if broken is not None:
        (tmp_path / "pages").mkdir()
        (tmp_path / "pages/error.html").write_text(broken)
    (tmp_path / "static").mkdir()
    app = create_app(settings)
    _failing(app)
    app.state.templates = Templates(tmp_path, Static(tmp_path / "static"))
    client = browser(app)
    for path, status in (("refused", 422), ("crash", 500), ("nowhere", 404)):
        answer = client.get(f"/test/{path}")
        assert answer.status_code == status
        assert answer.text.startswith("<!doctype html>")
        assert '<a href="/">' in answer.text
        assert missing_headers(answer.headers) == {}
    assert "Name another." in client.get("/test/refused").text
    assert not {"\x1b", "\u202e"} & set(client.get("/test/refused").text)
