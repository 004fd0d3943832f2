"""Static files: kept for ever under their versioned address, asked for again under any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.web.static_files import Static


@pytest.fixture
def static(tmp_path: Path) -> Static:
    folder = tmp_path / "static"
    (folder / "js").mkdir(parents=True)
    (folder / "js" / "x.js").write_text("export const a = 1;")
    (folder / "x.woff2").write_bytes(b"wOF2")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return Static(folder)


@pytest.fixture
def files(static: Static) -> TestClient:
    app = FastAPI()
    app.mount("/static", static)
    return TestClient(app)


def test_versioned_addresses_are_kept_for_ever(files: TestClient, static: Static) -> None:
    answer = files.get(static.url("js/x.js"))
    assert answer.text == "export const a = 1;"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("query", ["", "?v=", "?v=00000000", "?v=00000000&v=1"])
def test_other_addresses_are_asked_for_again(files: TestClient, query: str) -> None:
    answer = files.get(f"/static/js/x.js{query}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    again = files.get(f"/static/js/x.js{query}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


def test_types_do_not_depend_on_the_machine(files: TestClient) -> None:
    assert files.get("/static/x.woff2").headers["content-type"] == "font/woff2"


@pytest.mark.parametrize(
    "path",
    ["nothing.js", "js", "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "link.txt", "/etc/passwd", "x%00.js"],
)
def test_nothing_outside_is_served(files: TestClient, path: str) -> None:
    assert files.get(f"/static/{path}").status_code == 404
