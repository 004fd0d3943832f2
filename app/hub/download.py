"""A file of a model brought into the user's Hub cache: resumed across processes, checked, and only then visible."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx2

from app.hub.cache import UNFINISHED, HubCache, content_name
from app.hub.errors import About, Trouble
from app.hub.partial import Partial
from app.hub.pieces import stream_range
from app.hub.ranges import resolve_path
from app.hub.transport import Patience, Transport, gives_up, nothing, signed
from app.planning.facts import FileFacts
from app.recipe.findings import Refused, refuse

TICK = 0.1
"""Seconds between two looks at ``check``."""
ENOUGH = 1 << 20
"""Bytes after which a connection that broke counts as having worked."""
_HASHED_AT_ONCE = 8 << 20
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def download(
    transport: Transport,
    cache: HubCache,
    repo: str,
    commit: str,
    file: FileFacts,
    token: str | None,
    *,
    on_bytes: Callable[[int], None] = nothing,
    check: Callable[[], None] = nothing,
    on_wait: Callable[[float, str], None] = nothing,
    branch: str | None = None,
    patience: Patience,
) -> Path:
    """The file's place in the cache, ``snapshots/<commit>/<name>``; fetched when it is not there yet.

    ``on_bytes(n)``: n more bytes are here, including those found from earlier; negative when bytes turned out wrong,
    so that the sum is always what is here. ``check()`` is called at least every quarter of a second and may raise to
    cancel; bytes that came stay for the next attempt. ``on_wait(seconds, why)`` tells of a pause. ``branch``: also
    note that this branch stood for this commit. All are called in the calling thread.

    Raises Refused: ``download-failed``, ``checksum-mismatch``, ``disk-full``, ``cache-not-writable``, ``gated``...
    """
    check()
    if content_name(file) is None:
        raise _failed(repo, file.name, "the Hub names no hash for it, so it could not be checked")
    about = About(transport.endpoint, repo, file=file.name, signed=bool(token))
    fetch = _Fetch(transport, about, commit, file, token, patience, _Caller(on_bytes, check, on_wait))
    try:
        return fetch.into(cache, branch)
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise refuse(
            "cache-not-writable", repo, f"{cache.root} cannot be written to ({error.strerror}).",
            "Let this account write there, or set HF_HOME to a folder where it may.",
        ) from error  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who is told how it goes; see ``download``."""

    on_bytes: Callable[[int], None]
    check: Callable[[], None]
    on_wait: Callable[[float, str], None]


class _Fetch:
    """One file's download."""

    def __init__(
        self,
        transport: Transport,
        about: About,
        commit: str,
        file: FileFacts,
        token: str | None,
        patience: Patience,
        caller: _Caller,
    ) -> None:
        self.transport, self.about, self.commit, self.file = transport, about, commit, file
        self.patience, self.caller = patience, caller
        self.path = resolve_path(about.repo, commit, file.name)
        self.headers = signed(token)
        self.told = 0

    def into(self, cache: HubCache, branch: str | None) -> Path:
        """Fetch unless it is there, make it visible, and return its place. Two processes do not fetch the same."""
        place = (self.about.repo, self.commit, self.file)
        if cache.find(*place) is None:
            with cache.lock(self.about.repo, self.file, self.caller.check):
                if cache.find(*place) is None:
                    self._fetch(cache.blob(self.about.repo, self.file))
        if branch is not None:
            cache.remember(self.about.repo, branch, self.commit)
        self.tell(self.file.size)
        return cache.link(*place)

    def _fetch(self, blob: Path) -> None:
        unfinished = blob.with_name(blob.name + UNFINISHED)
        with closing(Partial(unfinished, self.file.size, self.file.name)) as partial:
            for _ in range(2):
                self.tell(partial.present)
                if not partial.complete:
                    asyncio.run(self._fill(partial))
                if self._is_whole(partial):
                    partial.publish(blob)
                    return
                partial.start_over()
            self.tell(partial.present)
            partial.path.unlink()
            raise refuse(
                "checksum-mismatch", self.about.what,
                f"{self.file.name} arrived twice with other content than the Hub says it has.",
                "Something on the way changes or damages it: check the network, a proxy or mirror, and the disk.",
            )  # fmt: skip

    def tell(self, present: int) -> None:
        """Report how many bytes are here, as the difference to the last report."""
        if present != self.told:
            self.caller.on_bytes(present - self.told)
            self.told = present

    async def _fill(self, partial: Partial) -> None:
        """Fetch what is missing, all segments side by side."""
        async with self.transport.async_client(self.patience) as client:
            open_ones = [i for i, (begin, end) in enumerate(partial.bounds) if partial.done[i] < end - begin]
            tasks = {asyncio.create_task(self._segment(client, partial, index)) for index in open_ones}
            try:
                await self._watch(partial, tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.tell(partial.present)

    async def _watch(self, partial: Partial, tasks: set[asyncio.Task[None]]) -> None:
        waiting = set(tasks)
        while waiting:
            ended, waiting = await asyncio.wait(waiting, timeout=TICK, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                task.result()
            self.tell(partial.present)
            self.caller.check()

    async def _segment(self, client: httpx2.AsyncClient, partial: Partial, index: int) -> None:
        begin, end = partial.bounds[index]
        failures = 0
        while partial.done[index] < end - begin:
            before = partial.done[index]
            try:
                await self._stream(client, partial, index)
            except Trouble as trouble:
                failures = 1 if partial.done[index] - before >= ENOUGH else failures + 1
                if gives_up(trouble, failures, self.patience):
                    raise final(trouble, self.about) from None
                seconds = self.patience.wait(failures, trouble.wait)
                self.caller.on_wait(seconds, trouble.refused.findings[0].text)
                await asyncio.sleep(seconds)

    async def _stream(self, client: httpx2.AsyncClient, partial: Partial, index: int) -> None:
        """One request for the rest of a segment. Raises Trouble when it ends too early."""
        begin, end = partial.bounds[index]
        bounds = (begin + partial.done[index], end)
        url = self.transport.endpoint + self.path
        async for piece in stream_range(
            client, url, self.headers, bounds, self.about, self.file.size, self.patience.silence
        ):
            partial.write(index, piece)

    def _is_whole(self, partial: Partial) -> bool:
        """Whether the content has the hash the Hub named: sha256 for LFS files, else git's sha1 of the blob."""
        digest = hashlib.sha256() if self.file.sha256 else hashlib.sha1(b"blob %d\0" % self.file.size)  # noqa: S324
        position = 0
        while position < self.file.size:
            self.caller.check()
            piece = partial.read(position, min(_HASHED_AT_ONCE, self.file.size - position))
            digest.update(piece)
            position += len(piece)
        return digest.hexdigest() == content_name(self.file)


def final(trouble: Trouble, about: About, advice: str = "What arrived is kept: start again to go on.") -> Refused:
    """What is told in the end: what people can act on as it is, a network that failed as a failed download."""
    finding = trouble.refused.findings[0]
    if finding.code != "hub-unreachable":
        return trouble.refused
    return _failed(about.repo, about.file, finding.text, advice)


def _failed(repo: str, file: str, why: str, fix: str = "Try again.") -> Refused:
    return refuse("download-failed", repo, f"{file} could not be downloaded: {why}", fix)
