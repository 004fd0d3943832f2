"""A file on the Hub that is read in parts and never stored: its size and its tags tell whether it is the right one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2

from app.hub.cache import content_name
from app.hub.download import ENOUGH, final
from app.hub.errors import About, Trouble
from app.hub.pieces import stream_range
from app.hub.ranges import FARTHEST_SKIP, resolve_path
from app.hub.transport import Patience, Transport, gives_up, signed
from app.planning.facts import FileFacts
from app.recipe.findings import Refused, refuse

Pause = Callable[[float, str, bool], Awaitable[None]]
"""Waits so many seconds, for this reason; True when the Hub asked for it, so that all requests should wait."""
_HASH = re.compile(r'"([0-9a-f]{40}|[0-9a-f]{64})"')


class RangedFile:
    """One file of a commit. For use in one event loop, by several tasks at once.

    The hash that the Hub names for the file is compared whenever an answer tells it, and so is the tag of what is
    really sent: content that changes between two requests is noticed. What arrives is not hashed: it is never whole.
    """

    def __init__(
        self, transport: Transport, repo: str, commit: str, file: FileFacts, token: str | None, patience: Patience
    ) -> None:
        self.file, self.patience = file, patience
        self.about = About(transport.endpoint, repo, file=file.name, signed=bool(token))
        self._address = transport.endpoint + resolve_path(repo, commit, file.name)
        self._headers = signed(token)
        self._direct: str | None = None
        self._tag: str | None = None

    async def read(
        self, client: httpx2.AsyncClient, begin: int, end: int, take: Callable[[memoryview], None], pause: Pause
    ) -> None:
        """Give the bytes ``[begin, end)`` to ``take``, in order and as they come; a line that breaks is taken up there.

        Raises Refused: ``parent-changed``, ``no-ranges``, ``download-failed``, ``rate-limited``, ``gated``...
        """
        failures = 0
        while begin < end:
            before = begin
            try:
                async for piece in self._stream(client, begin, end):
                    take(piece)
                    begin += len(piece)
            except Trouble as trouble:
                failures = 1 if begin - before >= ENOUGH else failures + 1
                if gives_up(trouble, failures, self.patience):
                    raise final(trouble, self.about, "Start again to go on after the finished files.") from None
                seconds = self.patience.wait(failures, trouble.wait)
                await pause(seconds, trouble.refused.findings[0].text, trouble.wait is not None)

    async def _stream(self, client: httpx2.AsyncClient, begin: int, end: int) -> AsyncIterator[memoryview]:
        """One request. A redirect is followed once and then asked directly, without the token, until it has expired."""
        direct = self._direct

        def look(answer: httpx2.Response) -> None:
            self._check(answer, direct is not None)
            if answer.status_code != 206 and begin > FARTHEST_SKIP:
                raise Trouble(_no_ranges(self.about))

        url, headers = (self._address, self._headers) if direct is None else (direct, {})
        bounds, silence = (begin, end), self.patience.silence
        try:
            async for piece in stream_range(client, url, headers, bounds, self.about, self.file.size, silence, look):
                yield piece
        except Trouble as trouble:
            if direct is None or trouble.again:
                raise
            self._direct = None  # refused where it was granted before: the address has expired

    def _check(self, answer: httpx2.Response, direct: bool) -> None:
        """Raises Trouble (``parent-changed``) when an answer is about another content than was asked for."""
        first: httpx2.Response = next(iter(answer.history), answer)
        told = first.headers.get("X-Linked-Etag", "")
        if not (told or answer.history or direct):
            told = first.headers.get("ETag", "")
        named, tag = _HASH.fullmatch(told), answer.headers.get("ETag", "")
        if named and named[1] != (content_name(self.file) or named[1]):
            raise Trouble(_changed(self.about))
        if tag.startswith('"') and tag != (self._tag or tag):
            raise Trouble(_changed(self.about))
        self._tag = tag if tag.startswith('"') else self._tag
        if answer.history and answer.is_success:
            self._direct = str(answer.url)


def _changed(about: About) -> Refused:
    return refuse(
        "parent-changed", about.what, f"The Hub at {about.endpoint} now sends another {about.file} of {about.repo}.",
        "Check the recipe again, then start anew.",
    )  # fmt: skip


def _no_ranges(about: About) -> Refused:
    return refuse(
        "no-ranges", about.what, f"The Hub at {about.endpoint} sends whole files only, not parts of them.",
        "Merge without streaming.",
    )  # fmt: skip
