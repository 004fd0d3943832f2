"""Pieces of files read over ``resolve`` addresses by Range, so that headers cost kilobytes and not gigabytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from app.hub.errors import About, Trouble, unreachable
from app.hub.transport import Patience, Transport, patiently

FARTHEST_SKIP = 64 << 20
"""Bytes thrown away at most to reach a range in the answer of a server that does not know ranges."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def resolve_path(repo: str, commit: str, file: str) -> str:
    """The path of a file's content, below the endpoint."""
    return f"/{quote(repo)}/resolve/{quote(commit, safe='')}/{quote(file)}"


def read_range(
    transport: Transport,
    repo: str,
    commit: str,
    file: str,
    begin: int,
    end: int,
    token: str | None,
    patience: Patience,
) -> bytes:
    """Exactly the bytes ``[begin, end)`` of a file. Raises Refused."""
    about = About(transport.endpoint, repo, file=file, signed=bool(token))
    if begin >= end:
        return b""
    path = resolve_path(repo, commit, file)

    def once() -> bytes:
        headers = {"Range": f"bytes={begin}-{end - 1}"}
        most = end if begin < FARTHEST_SKIP else end - begin
        answer = transport.get(path, about, token, patience.silence, headers=headers, most=most)
        skip = first_byte(answer.status, answer.headers, about)
        body = answer.body[begin - skip : end - skip] if begin >= skip else b""
        if len(body) != end - begin:
            raise Trouble(unreachable(about, f"sent another part of {file} than was asked for"), again=True)
        return body

    return patiently(once, patience)


def first_byte(status: int, headers: Mapping[str, str], about: About, size: int | None = None) -> int:
    """The position in the file at which an answer begins: 0 when the server sends the whole file instead.

    Raises Trouble when the answer's own words do not fit a file of ``size`` bytes.
    """
    if status != 206:
        return 0
    told = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if told is None or (size is not None and told[3] not in ("*", str(size))):
        raise Trouble(unreachable(about, f"describes {about.file} differently than before"), again=True)
    return int(told[1])
