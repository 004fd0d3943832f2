"""Headers on every answer, host names, and requests from other sites."""

from __future__ import annotations

import itertools

import pytest
from starlette.testclient import TestClient

from app.settings import Settings
from app.web.security import allowed_hosts, is_loopback

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def missing_headers(response_headers) -> dict[str, str]:
    return {name: value for name, value in HEADERS.items() if response_headers.get(name) != value}


@pytest.mark.parametrize("path", ["/api/methods", "/nothing", "/api/nothing", "/static/nothing.css", "/openapi.json"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_headers_on_answers_and_errors(client: TestClient, path: str, method: str) -> None:
    assert missing_headers(client.request(method, path).headers) == {}


@pytest.mark.parametrize("host", ["127.0.0.1:8300", "localhost:8300", "LOCALHOST:8300", "[::1]:8300"])
def test_known_hosts_pass(client: TestClient, host: str) -> None:
    assert client.get("/api/methods", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8300", "127.0.0.1", "localhost", "127.0.0.1:80", "127.0.0.1:8301", "[::1]", "",
     "127.0.0.1:8300.evil.test", "localhost.evil.test:8300", "127.0.0.1:8300@evil.test", "127.0.0.1:8300/x",
     "0.0.0.0:8300", "2130706433:8300", "localhost.:8300", "localhost:8300#", "127.0.0.1:8300?x", "a" * 5000],
)  # fmt: skip
def test_other_hosts_are_misdirected(client: TestClient, host: str) -> None:
    answer = client.get("/api/methods", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["findings"][0]["code"] == "unknown-host"
    assert missing_headers(answer.headers) == {}


def test_two_host_headers_are_refused(client: TestClient) -> None:
    answer = client.get("/api/methods", headers=[("Host", "127.0.0.1:8300"), ("Host", "evil.test")])
    assert answer.status_code == 421


def test_the_list_of_hosts() -> None:
    loopback = {"127.0.0.1:8300", "localhost:8300", "[::1]:8300"}
    assert allowed_hosts(Settings(port=8300)) == loopback
    assert allowed_hosts(Settings(port=8300, host="0.0.0.0")) == loopback
    assert allowed_hosts(Settings(port=8300, host="::")) == loopback
    assert allowed_hosts(Settings(port=8300, host="Loom.lan")) == loopback | {"loom.lan:8300"}
    assert allowed_hosts(Settings(port=8300, host="fd00::5")) == loopback | {"[fd00::5]:8300"}
    assert allowed_hosts(Settings(port=8300, allowed_hosts="loom.example, Loom:9000")) == loopback | {
        "loom.example", "loom:9000",
    }  # fmt: skip
    assert {"localhost", "127.0.0.1", "[::1]"} < allowed_hosts(Settings(port=80))


def test_which_addresses_are_this_machine_alone() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.3.2.1", "localhost", "::1", "[::1]"]))
    assert not any(
        map(is_loopback, ["0.0.0.0", "::", "192.168.1.4", "10.0.0.1", "loom.lan", "localhost.evil.test", ""])
    )


SITES = [None, "same-origin", "none", "same-site", "cross-site", "", "Same-Origin", "same-origin, cross-site"]
ORIGINS = [
    None, "null", "http://127.0.0.1:8300", "https://127.0.0.1:8300", "http://127.0.0.1:3000", "http://127.0.0.1",
    "http://localhost:8300", "http://evil.test", "http://127.0.0.1:8300.evil.test", "127.0.0.1:8300", "", "file://",
    "chrome-extension://127.0.0.1:8300", "http://evil.test@127.0.0.1:8300",
]  # fmt: skip
OWN = {"http://127.0.0.1:8300", "https://127.0.0.1:8300"}


@pytest.mark.parametrize(("site", "origin"), list(itertools.product(SITES, ORIGINS)))
def test_cross_origin_matrix(client: TestClient, site: str | None, origin: str | None) -> None:
    """The table of T7: site says who asks; without it Origin does; without both it is no browser; null never passes."""
    headers = {name: value for name, value in (("Sec-Fetch-Site", site), ("Origin", origin)) if value is not None}
    if origin == "null":
        passes = False
    elif site is not None:
        passes = site in ("same-origin", "none")
    else:
        passes = origin is None or origin in OWN
    for method in ("POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
        answer = client.request(method, "/api/methods", headers=headers)
        assert answer.status_code == (405 if passes else 403), (method, headers)
    assert client.get("/api/methods", headers=headers).status_code == 200


def test_no_cross_origin_sharing(client: TestClient) -> None:
    answer = client.options(
        "/api/methods", headers={"Origin": "http://evil.test", "Access-Control-Request-Method": "POST"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control-")]
