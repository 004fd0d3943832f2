"""Conditional and partial requests for one file (RFC 9110 §13 and §14), as pure functions of the headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LONGEST = 64
_SINGLE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """What to send of a file of ``size`` bytes: ``[first, end)`` with the status that goes with it.

    Status 200 is the whole file, 206 a part of it; 304 (unchanged), 412 (changed) and 416 (outside) send nothing.
    """

    status: int
    first: int
    end: int
    size: int

    @property
    def length(self) -> int:
        return self.end - self.first

    @property
    def content_range(self) -> str | None:
        """The Content-Range header, where one is due."""
        if self.status == 206:
            return f"bytes {self.first}-{self.end - 1}/{self.size}"
        return f"bytes */{self.size}" if self.status == 416 else None


def choose_part(headers: Mapping[str, str], size: int, etag: str) -> Part:
    """What to send for a GET or HEAD with these headers (names in lower case). ``etag`` is strong and quoted."""
    whole = Part(200, 0, size, size)
    if "if-match" in headers and not _lists(headers["if-match"], etag, weak=False):
        return Part(412, 0, 0, size)
    if "if-none-match" in headers and _lists(headers["if-none-match"], etag, weak=True):
        return Part(304, 0, 0, size)
    if "range" not in headers or headers.get("if-range", etag).strip() != etag:
        return whole
    return _single_range(headers["range"], size) or whole


def _single_range(header: str, size: int) -> Part | None:
    """The one range asked for. None for several, malformed or overlong ones: a server may ignore those."""
    match = _SINGLE.fullmatch(header) if len(header) <= _LONGEST else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        wanted = min(int(match[2]), size)
        if size == 0 and int(match[2]) > 0:
            return None
        return Part(206, size - wanted, size, size) if wanted else Part(416, 0, 0, size)
    first = int(match[1])
    if match[2] and int(match[2]) < first:
        return None
    if first >= size:
        return Part(416, 0, 0, size)
    return Part(206, first, min(int(match[2]) + 1, size) if match[2] else size, size)


def _lists(header: str, etag: str, *, weak: bool) -> bool:
    """Whether an If-Match or If-None-Match header names ``etag``. The weak comparison overlooks ``W/``."""
    if header.strip() == "*":
        return True
    named = (one.strip() for one in header.split(","))
    return any((one.removeprefix("W/") if weak else one) == etag for one in named)
