"""The Jinja environment, its filters, and the rule for fragments."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from starlette.requests import Request

from app.recipe.findings import Finding
from app.web.rendering import Templates, advice, byte_size, clock, duration, moment, number, percent, short_number
from app.web.static_files import Static


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    files = {
        "templates/pages/job.html": "<main>{% include 'partials/_job.html' %}</main>",
        "templates/partials/_job.html": "<p>{{ name }}</p>",
        "templates/macro.html": "{% macro bold(x) %}<b>{{ x }}</b>{% endmacro %}{{ bold(name) }}",
        "templates/style.html": "{{ static('css/x.css') }}",
        "templates/missing.html": "{{ static('css/none.css') }}",
        "static/css/x.css": "p { color: red }",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Templates(tmp_path / "templates", Static(tmp_path / "static"))


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})


def test_text_is_escaped(templates: Templates) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;"
    assert templates.render("partials/_job.html", name=hostile) == f"<p>{escaped}</p>"
    assert templates.render("macro.html", name=hostile) == f"<b>{escaped}</b>"


@pytest.mark.parametrize(
    "hidden", ["\x00", "\x1b[31m", "\x7f", "\x85", "\u202e", "\u2066", "\u2028", "\ufeff", "\ud800"]
)
def test_hidden_characters_are_replaced_wherever_text_is_shown(templates: Templates, hidden: str) -> None:
    expected = "a\ufffd" + hidden[1:] + "b"
    assert templates.render("partials/_job.html", name=f"a{hidden}b") == f"<p>{expected}</p>"
    assert templates.render("macro.html", name=f"a{hidden}b") == f"<b>{expected}</b>"


def test_ordinary_text_of_any_script_stays(templates: Templates) -> None:
    text = "tab\there\nline · ĳs 模型 نموذج 👩‍💻"
    assert templates.render("partials/_job.html", name=text) == f"<p>{text}</p>"


def test_a_missing_value_is_an_error(templates: Templates) -> None:
    with pytest.raises(UndefinedError):
        templates.render("partials/_job.html")


def test_htmx_gets_the_very_partial_that_the_page_includes(templates: Templates) -> None:
    def answer(ask: Request) -> tuple[str, str]:
        response = templates.answer(ask, "pages/job.html", "partials/_job.html", name="seven")
        return bytes(response.body).decode(), response.headers["vary"]

    assert answer(request()) == ("<main><p>seven</p></main>", "HX-Request-Type")
    assert answer(request(HX_Request_Type="full")) == ("<main><p>seven</p></main>", "HX-Request-Type")
    assert answer(request(HX_Request_Type="partial")) == ("<p>seven</p>", "HX-Request-Type")


def test_status_and_headers_of_a_page(templates: Templates) -> None:
    response = templates.page(request(), "pages/job.html", status_code=422, headers={"X-One": "1"}, name="x")
    assert (response.status_code, response.headers["x-one"]) == (422, "1")
    assert response.headers["content-type"] == "text/html; charset=utf-8"


def test_static_addresses_follow_the_content(templates: Templates, tmp_path: Path) -> None:
    css = tmp_path / "static/css/x.css"
    for text in ("p { color: red }", "p { color: navy }"):
        css.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        assert templates.render("style.html") == f"/static/css/x.css?v={digest}"
    with pytest.raises(FileNotFoundError):
        templates.render("missing.html")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (-5, "-5"), (0.5, "0.5"), (1234.5678, "1,235"), (1 / 3, "0.3333")],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1K"), (134515008, "134.5M"), (7e9, "7B"), (8030261248, "8.03B"),
     (999_900_000, "999.9M"), (405e9, "405B"), (1.04e12, "1.04T"), (5e15, "5000T")],
)  # fmt: skip
def test_short_number(value: float, text: str) -> None:
    assert short_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9994, "9.99 kB"), (9996, "10.0 kB"), (269060552, "269 MB"),
     (5e9, "5.00 GB"), (999_600_000, "1.00 GB"), (140e9, "140 GB"), (3.2e12, "3.20 TB"), (5e15, "5000 TB")],
)  # fmt: skip
def test_byte_size(value: float, text: str) -> None:
    assert byte_size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0, "< 1 s"), (0.99, "< 1 s"), (1, "1 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"),
     (3599.6, "1 h 0 min"), (8000, "2 h 13 min"), (360000, "100 h 0 min")],
)  # fmt: skip
def test_duration(value: float | None, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(("share", "text"), [(0, "0 %"), (0.126, "12 %"), (0.99999, "99 %"), (1, "100 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_moments() -> None:
    noon = datetime(2026, 1, 31, 12, 0, 0, 999, tzinfo=UTC)
    for value in (noon, noon.replace(tzinfo=None), noon.astimezone(timezone(timedelta(hours=5))), noon.timestamp()):
        assert moment(value) == "2026-01-31T12:00:00Z"
        assert clock(value) == "31 Jan 2026, 12:00 UTC"
    assert moment(None) == clock(None) == ""


def test_the_address_to_ask_for_access_at_is_a_link_and_no_other_is() -> None:
    asked = Finding("error", "gated", "a/b", "a/b is gated.", "Ask <here>: https://hub.test/a/b")
    link = '<a href="https://hub.test/a/b" rel="noopener noreferrer" target="_blank">https://hub.test/a/b</a>'
    assert advice(asked) == f"Ask &lt;here&gt;: {link}"
    assert (
        advice(Finding("error", "bad-reference", "", "No.", "See https://elsewhere.test"))
        == "See https://elsewhere.test"
    )
    assert advice(Finding("error", "gated", "", "No.", "Ask for it.")) == "Ask for it."
