"""HTTP to the Hub: one place that sends requests, with the token given for this call and no other."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any, TypeVar

from app.hub.errors import About, Trouble, trouble_of, unreachable

if TYPE_CHECKING:
    # At run time only where it is used: merges of local models start without it.
    import httpx2

T = TypeVar("T")
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to bear with a Hub that is slow, busy or gone. Times in seconds.

    ``attempts`` in all; waits double from ``first`` up to ``longest``, with jitter; ``silence`` without a byte counts
    as a failure. A Hub that asks for a wait beyond ``longest_told`` is given up at once.
    """

    attempts: int
    first: float
    longest: float
    silence: float
    longest_told: float

    def wait(self, failures: int, told: float | None) -> float:
        """Seconds to wait after so many failures in a row; ``told`` is what the Hub asked for."""
        if told is not None:
            return told + SystemRandom().uniform(0, min(1.0, self.first))
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * SystemRandom().uniform(0.5, 1)


TYPING = Patience(attempts=2, first=0.2, longest=0.5, silence=3, longest_told=0)
"""While somebody types and waits for suggestions."""
LOOKING = Patience(attempts=3, first=0.3, longest=2, silence=8, longest_told=2)
"""While a page waits for facts of a model."""
FETCHING = Patience(attempts=6, first=1, longest=60, silence=15, longest_told=900)
"""A download in the background."""


SLOW = 4
"""Times of ``silence`` after which an answer that drips in is given up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, its body not longer than asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Requests to one endpoint. May be used from several threads.

    Redirects are followed, and the token is not: it goes to the endpoint's own host only.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint.rstrip("/")

    @cached_property
    def client(self) -> httpx2.Client:
        import httpx2

        limits = httpx2.Limits(max_connections=32, keepalive_expiry=20)
        return httpx2.Client(
            follow_redirects=True, max_redirects=5, limits=limits, headers={"User-Agent": user_agent()}
        )

    def close(self) -> None:
        if "client" in self.__dict__:
            self.client.close()

    def async_client(self, patience: Patience) -> httpx2.AsyncClient:
        """A client of its own for one download; the caller closes it."""
        import httpx2

        return httpx2.AsyncClient(
            follow_redirects=True, max_redirects=5, timeout=patience.silence, headers={"User-Agent": user_agent()}
        )

    def get_json(
        self,
        path: str,
        about: About,
        token: str | None,
        patience: Patience,
        *,
        params: Any = None,
        most: int = 16 << 20,
    ) -> Any:
        """An API answer. Raises Refused; an answer that is not JSON counts as the Hub being unreachable."""

        def once() -> Any:
            answer = self.get(path, about, token, patience.silence, params=params, most=most)
            try:
                return json.loads(answer.body)
            except (ValueError, RecursionError):
                raise Trouble(unreachable(about, "gave an answer that cannot be read"), again=True) from None

        return patiently(once, patience)

    def get(
        self,
        path: str,
        about: About,
        token: str | None,
        silence: float,
        *,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
        most: int,
    ) -> Answer:
        """One attempt; at most ``most`` bytes of body are read. Raises Trouble."""
        import httpx2

        refuse_offline(about)
        sent = {"Accept-Encoding": "identity", **signed(token), **(headers or {})}
        try:
            with self.client.stream("GET", self.endpoint + path, params=params, headers=sent, timeout=silence) as got:
                if not got.is_success:
                    raise trouble_of(got.status_code, got.headers, about)
                body, deadline = bytearray(), time.monotonic() + 2 * SLOW * silence
                for piece in got.iter_bytes():
                    body += piece
                    if time.monotonic() > deadline:
                        raise Trouble(unreachable(about, "answers too slowly"), again=True)
                    if len(body) >= most:
                        break
                return Answer(got.status_code, got.headers, bytes(body[:most]))
        except httpx2.HTTPError as error:
            raise broken(error, about) from None


def nothing(*_: object) -> None:
    """For callbacks that nobody listens to."""


def patiently(once: Callable[[], T], patience: Patience) -> T:
    """Call ``once`` until it succeeds, as often as patience allows. Raises Refused."""
    failures = 0
    while True:
        try:
            return once()
        except Trouble as trouble:
            failures += 1
            if gives_up(trouble, failures, patience):
                raise trouble.refused from None
            time.sleep(patience.wait(failures, trouble.wait))


def gives_up(trouble: Trouble, failures: int, patience: Patience) -> bool:
    too_long = trouble.wait is not None and trouble.wait > patience.longest_told
    return not trouble.again or too_long or failures >= patience.attempts


def broken(error: httpx2.HTTPError, about: About) -> Trouble:
    """A connection that failed. The error itself may hold the request with its token and goes no further."""
    import httpx2

    if isinstance(error, httpx2.TooManyRedirects | httpx2.UnsupportedProtocol):
        return Trouble(unreachable(about, "redirects without end"))
    if isinstance(error, httpx2.TimeoutException):
        return Trouble(unreachable(about, "does not answer in time"), again=True)
    if isinstance(error, httpx2.ConnectError):
        return Trouble(unreachable(about, "cannot be reached"), again=True)
    return Trouble(unreachable(about, "broke off the connection"), again=True)


def refuse_offline(about: About) -> None:
    """Keep to ``HF_HUB_OFFLINE``, the switch that all tools of the Hub share. Raises Trouble."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in _TRUE:
            raise Trouble(unreachable(about, f"is not asked, because {name} is set"))


def signed(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def user_agent() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"weightloom/{version('weightloom')}"
    except PackageNotFoundError:
        return "weightloom"
