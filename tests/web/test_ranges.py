"""Range, If-Range, If-None-Match and If-Match, against slices of bytes."""

from __future__ import annotations

import io
import urllib.parse
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.web import downloads
from app.web.downloads import download
from app.web.ranges import choose_part

ETAG = '"0123abcd"'
sizes = st.integers(0, 50)
offsets = st.integers(0, 70)


def sent(headers: dict[str, str], content: bytes) -> tuple[int, bytes, str | None]:
    part = choose_part(headers, len(content), ETAG)
    return part.status, content[part.first : part.end], part.content_range


@given(sizes, offsets, offsets)
def test_first_to_last(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    status, body, told = sent({"range": f"bytes={first}-{last}"}, content)
    if last < first:
        assert (status, body, told) == (200, content, None)
    elif first >= size:
        assert (status, body, told) == (416, b"", f"bytes */{size}")
    else:
        expected = content[first : last + 1]
        assert (status, body) == (206, expected)
        assert told == f"bytes {first}-{first + len(expected) - 1}/{size}"


@given(sizes, offsets)
def test_from_a_place_to_the_end(size: int, first: int) -> None:
    content = bytes(range(size))
    status, body, _ = sent({"range": f"bytes={first}-"}, content)
    assert (status, body) == ((206, content[first:]) if first < size else (416, b""))


@given(sizes, offsets)
def test_the_last_bytes(size: int, count: int) -> None:
    content = bytes(range(size))
    status, body, _ = sent({"range": f"bytes=-{count}"}, content)
    if count == 0:
        assert (status, body) == (416, b"")
    elif size == 0:
        assert (status, body) == (200, b"")
    else:
        assert (status, body) == (206, content[-count:])


@given(st.integers(1, 50), st.lists(st.integers(0, 50), max_size=8))
def test_a_download_cut_anywhere_and_resumed_is_the_same_bytes(size: int, cuts: list[int]) -> None:
    content = bytes(range(size))
    got = b""
    for cut in cuts:
        status, body, _ = sent({"range": f"bytes={len(got)}-", "if-range": ETAG}, content)
        if status == 416:
            break
        got += body[:cut]
    status, body, _ = sent({"range": f"bytes={len(got)}-", "if-range": ETAG}, content)
    assert got + (body if status == 206 else b"") == content


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=1-2,4-5", "bytes=0-0,-1", "items=0-5",
     "bytes=--5", "bytes=1-2-3", "bytes=+1-2", "bytes=1_0-20", "bytes=٣-٥", "bytes=0x1-2", "bytes 1-2", "bytes=5-2",
     "bytes=1.0-2", "bytes = 1-2", "bytes=" + "0" * 60 + "-1", "bytes=" + ",".join("0-0" for _ in range(10000))],
)  # fmt: skip
def test_what_is_no_single_range_gets_the_whole_file(header: str) -> None:
    assert sent({"range": header}, b"0123456789") == (200, b"0123456789", None)


@pytest.mark.parametrize("header", ["Bytes=2-4", "BYTES=2-4", "bytes= 2-4", "bytes=2-4 ", "bytes=002-4"])
def test_spellings_of_one_range(header: str) -> None:
    assert sent({"range": header}, b"0123456789") == (206, b"234", "bytes 2-4/10")


@pytest.mark.parametrize(
    ("value", "status"),
    [(ETAG, 206), (f" {ETAG} ", 206), (f"W/{ETAG}", 200), ('"other"', 200), ("0123abcd", 200), ("", 200),
     ("Sat, 31 Jan 2026 12:00:00 GMT", 200)],
)  # fmt: skip
def test_if_range_must_be_the_very_validator(value: str, status: int) -> None:
    assert sent({"range": "bytes=0-3", "if-range": value}, b"0123456789")[0] == status


@pytest.mark.parametrize(
    ("value", "status"),
    [(ETAG, 304), (f"W/{ETAG}", 304), (f'"a", {ETAG}', 304), ("*", 304), (" * ", 304), ('"other"', 200), ("", 200)],
)
def test_if_none_match(value: str, status: int) -> None:
    assert sent({"if-none-match": value}, b"0123456789")[0] == status
    assert sent({"if-none-match": value, "range": "bytes=0-1"}, b"0123456789")[0] == (206 if status == 200 else 304)


@pytest.mark.parametrize(
    ("value", "status"), [(ETAG, 200), (f'"a",{ETAG}', 200), ("*", 200), (f"W/{ETAG}", 412), ('"other"', 412)]
)
def test_if_match(value: str, status: int) -> None:
    assert sent({"if-match": value}, b"0123456789")[0] == status


SHA = "ab" * 32
CONTENT = bytes(range(256)) * 1024 + b"end"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """One file behind a plain route, sent in pieces small enough to need many."""
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    app = FastAPI()

    @app.api_route("/{name}", methods=["GET", "HEAD"])
    def one(request: Request, name: str) -> Response:
        return download(request, lambda: path.open("rb", buffering=0), name=name, size=len(CONTENT), sha256=SHA)

    return TestClient(app)


def test_the_whole_file(files: TestClient) -> None:
    answer = files.get("/model.safetensors")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["etag"] == f'"{SHA}"'
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''model.safetensors"


@given(st.integers(0, len(CONTENT) - 1), st.integers(0, len(CONTENT) + 10))
def test_any_part_of_it(files_for_all: TestClient, first: int, length: int) -> None:
    last = first + length
    answer = files_for_all.get("/x", headers={"Range": f"bytes={first}-{last}"})
    expected = CONTENT[first : last + 1]
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(CONTENT)}"


@pytest.fixture(scope="module")
def files_for_all(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    path = tmp_path_factory.mktemp("files") / "x"
    path.write_bytes(CONTENT)
    app = FastAPI()

    @app.get("/{name}")
    def one(request: Request, name: str) -> Response:
        return download(request, lambda: path.open("rb", buffering=0), name=name, size=len(CONTENT), sha256=SHA)

    return TestClient(app)


@pytest.mark.parametrize(
    "headers", [{}, {"Range": "bytes=5-9"}, {"If-None-Match": f'"{SHA}"'}, {"Range": "bytes=9999999-"}]
)
def test_head_tells_what_get_would(files: TestClient, headers: dict[str, str]) -> None:
    told, got = files.head("/x.json", headers=headers), files.get("/x.json", headers=headers)
    assert told.status_code == got.status_code
    assert dict(told.headers) == dict(got.headers)
    assert told.content == b""


def test_nothing_is_opened_when_nothing_is_sent() -> None:
    app = FastAPI()

    @app.api_route("/x", methods=["GET", "HEAD"])
    def one(request: Request) -> Response:
        def never() -> io.BytesIO:
            raise AssertionError("opened")

        return download(request, never, name="x", size=10, sha256=SHA)

    client = TestClient(app)
    assert client.head("/x").status_code == 200
    assert client.get("/x", headers={"If-None-Match": f'"{SHA}"'}).status_code == 304
    assert client.get("/x", headers={"Range": "bytes=10-"}).status_code == 416
    assert client.get("/x", headers={"If-Match": '"other"'}).status_code == 412


@pytest.mark.parametrize("name", ['a"b\\c.txt', "ünïcode 模型.json", "a;b=c", "x\r\nSet-Cookie: x"])
def test_no_name_breaks_out_of_its_header(files: TestClient, name: str) -> None:
    answer = files.get("/" + urllib.parse.quote(name))
    disposition = answer.headers["content-disposition"]
    assert set(answer.headers) == {
        "etag", "accept-ranges", "cache-control", "content-length", "content-type", "content-disposition",
    }  # fmt: skip
    prefix, _, quoted = disposition.partition("attachment; filename*=utf-8''")
    assert prefix == ""
    assert urllib.parse.unquote(quoted) == name
    assert not set(quoted) & set(' ;"\\\r\n,=')


def test_a_file_shorter_than_told_is_not_passed_off_as_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"short")
    app = FastAPI()

    @app.get("/x")
    def one(request: Request) -> Response:
        return download(request, lambda: path.open("rb", buffering=0), name="x", size=10, sha256=SHA)

    with pytest.raises(EOFError, match="5 bytes early"):
        TestClient(app).get("/x")
