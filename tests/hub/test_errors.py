"""What the Hub's answers mean, and how long to wait for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.hub.errors import About, asked_to_wait, trouble_of
from app.hub.transport import Patience


def test_waits_by_header() -> None:
    assert asked_to_wait({"RateLimit": '"api";r=0;t=55'}) == 55
    assert asked_to_wait({"RateLimit": '"api";r=7;t=55'}) is None
    assert asked_to_wait({"RateLimit": '"api";r=7;t=55', "Retry-After": "3"}) == 3
    assert asked_to_wait({"Retry-After": " 120 "}) == 120
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < (asked_to_wait({"Retry-After": later}) or 0) <= 90
    assert asked_to_wait({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    for nonsense in ("", "soon", "-3", "1e9", "Wed, 99 Foo"):
        assert asked_to_wait({"Retry-After": nonsense}) is None


@pytest.mark.parametrize(
    ("status", "headers", "signed", "code"),
    [
        (401, {}, False, "repo-not-found"),
        (401, {}, True, "token-refused"),
        (401, {"X-Error-Code": "RepoNotFound"}, True, "repo-not-found"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, True, "token-refused"),
        (401, {"X-Error-Code": "GatedRepo"}, False, "gated"),
        (403, {"X-Error-Code": "GatedRepo"}, True, "gated"),
        (403, {}, True, "token-refused"),
        (404, {}, False, "repo-not-found"),
        (404, {"X-Error-Code": "RevisionNotFound"}, False, "revision-not-found"),
        (404, {"X-Error-Code": "EntryNotFound"}, False, "file-not-found"),
        (418, {}, False, "hub-unreachable"),
        (416, {}, False, "hub-unreachable"),
        (429, {}, False, "rate-limited"),
        (503, {}, False, "hub-unreachable"),
    ],
)
def test_what_answers_mean(status: int, headers: dict[str, str], signed: bool, code: str) -> None:
    trouble = trouble_of(status, headers, About("https://hub.test", "a/b", signed=signed))
    assert trouble.refused.findings[0].code == code
    assert trouble.again is (status in (408, 429, 503))


def test_waits_grow_with_jitter_and_stay_bounded() -> None:
    patience = Patience(attempts=6, first=1, longest=60, silence=15, longest_told=900)
    for failures, most in ((1, 1), (2, 2), (3, 4), (6, 32), (9, 60), (99, 60)):
        waits = {patience.wait(failures, None) for _ in range(50)}
        assert len(waits) > 1
        assert most / 2 <= min(waits) <= max(waits) <= most
    assert 42 <= patience.wait(1, 42.0) <= 43
