"""How much a request may send, told beforehand or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from app.settings import Settings
from tests.web.conftest import application

LIMIT = 512 * 1024


def _reading(app: FastAPI) -> None:
    """Two routes that read a body whole, as bytes and as JSON."""

    async def raw(request: Request) -> int:
        return len(await request.body())

    def parsed(body: dict[str, str]) -> int:
        return len(body["x"])

    app.add_api_route("/api/test/raw", raw, methods=["POST"])
    app.add_api_route("/api/test/json", parsed, methods=["POST"])


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return application("reading", settings, _reading)


def pieces(total: int) -> Iterator[bytes]:
    """A body whose length is not told: httpx sends what comes out of an iterator in chunks."""
    for start in range(0, total, 10_000):
        yield b"x" * min(10_000, total - start)


@pytest.mark.parametrize(("size", "status"), [(0, 200), (LIMIT, 200), (LIMIT + 1, 413), (10 * LIMIT, 413)])
def test_the_largest_body(client: TestClient, size: int, status: int) -> None:
    for content in (b"x" * size, pieces(size)):
        answer = client.post("/api/test/raw", content=content)
        assert answer.status_code == status
        if status == 413:
            assert answer.json()["findings"][0]["code"] == "too-large"
        else:
            assert answer.json() == size


def test_a_json_body_too(client: TestClient) -> None:
    assert client.post("/api/test/json", json={"x": "a" * 1000}).json() == 1000
    assert client.post("/api/test/json", json={"x": "a" * LIMIT}).status_code == 413


@pytest.mark.parametrize("length", ["999999999999999999999999", "524289", "00000524289"])
def test_a_length_told_beforehand_is_enough_to_refuse(client: TestClient, length: str) -> None:
    answer = client.post("/api/test/raw", content=b"x", headers={"Content-Length": length})
    assert answer.status_code == 413


def test_no_files(client: TestClient) -> None:
    for kind in ("multipart/form-data; boundary=x", "Multipart/Mixed"):
        answer = client.post("/api/test/raw", content=b"--x--", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["findings"][0]["code"]) == (415, "multipart")


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"x":' * 40_000, "[" * 50_000 + "]" * 50_000])
def test_deep_json_is_refused_not_survived_by_luck(client: TestClient, nested: str) -> None:
    answer = client.post("/api/test/json", content=nested, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["findings"][0]["level"] == "error"
    assert client.get("/api/methods").status_code == 200
