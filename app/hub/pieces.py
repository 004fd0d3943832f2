"""A part of a file as it comes over the line, piece by piece."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping

import httpx2

from app.hub.errors import About, Trouble, trouble_of, unreachable
from app.hub.ranges import first_byte
from app.hub.transport import SLOW, broken, refuse_offline

LEAST = 4096
"""Bytes in ``SLOW`` times the silence that is borne; a line that brings less counts as broken."""


async def stream_range(
    client: httpx2.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    bounds: tuple[int, int],
    about: About,
    size: int,
    silence: float,
    look: Callable[[httpx2.Response], None] = lambda _: None,
) -> AsyncIterator[memoryview]:
    """The bytes ``[begin, end)`` (``bounds``) of a file of ``size`` bytes, as they arrive, by one request.

    ``look`` sees the answer before its first byte is given. Raises Trouble, also when it ends too early.
    """
    begin, end = bounds
    refuse_offline(about)
    try:
        asked = {"Accept-Encoding": "identity", **headers, "Range": f"bytes={begin}-{end - 1}"}
        async with client.stream("GET", url, headers=asked) as answer:
            if not answer.is_success:
                raise trouble_of(answer.status_code, answer.headers, about)
            look(answer)
            skip = begin - first_byte(answer.status_code, answer.headers, about, size)
            if skip < 0:
                raise Trouble(unreachable(about, "sent another part than was asked for"), again=True)
            pace = _Pace(silence * SLOW)
            async for piece in answer.aiter_raw():
                if pace.too_slow(len(piece)):
                    raise Trouble(unreachable(about, "sends next to nothing"), again=True)
                wanted = memoryview(piece)[skip:][: end - begin]
                skip = max(0, skip - len(piece))
                begin += len(wanted)
                yield wanted
                if begin == end:
                    return
    except httpx2.HTTPError as error:
        raise broken(error, about) from None
    raise Trouble(unreachable(about, f"sent less of {about.file} than it has"), again=True)


class _Pace:
    """Whether a line that never falls silent still gets anywhere: ``LEAST`` bytes in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.since, self.bytes = seconds, time.monotonic(), 0

    def too_slow(self, more: int) -> bool:
        self.bytes += more
        now = time.monotonic()
        if now - self.since < self.seconds:
            return False
        slow = self.bytes < LEAST
        self.since, self.bytes = now, 0
        return slow
