"""Parents on the Hub that are never stored: the merge reads what it uses, part by part, just before it needs it.

A part waits in a nameless scratch file until the tensors it belongs to are made: methods that look at a tensor twice
fetch it once, and memory stays constant. Reading ahead is bounded; a part that somebody waits for goes first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from app.hub.client import HubClient
from worker.steps.remote_file import PART, Part, RemoteFile
from worker.steps.scratch import Scratch

AT_ONCE = 8
"""Requests side by side."""
AHEAD = 32
"""Parts fetched before anybody reads them, at most."""
TICK = 0.1


class Stopped(Exception):
    """The merge is over for another reason."""


class Streams:
    """The connections of one merge. Its thread fetches; those of the engine wait for what they read."""

    def __init__(self, hub: HubClient, folder: Path, check: Callable[[], None]) -> None:
        """``folder``: for the scratch file. ``check`` may raise; called while the calling thread itself waits."""
        self._hub, self._check = hub, check
        self._owner = threading.get_ident()
        self._files: set[RemoteFile] = set()
        self._scratch = Scratch(folder, PART)
        self._cond = threading.Condition()
        self._waiting: list[Part] = []
        self._urgent: list[Part] = []
        self._problem: BaseException | None = None
        self._news: list[str] = []
        self._ahead = 0
        self.fetched = 0
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._main = self._loop.create_task(self._fetch_all())
        self._resume = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        self._thread.join()
        self._loop.close()
        self._scratch.close()

    def news(self) -> list[str]:
        """What happened on the line since this was asked last, for people."""
        with self._cond:
            news, self._news = self._news, []
        return news

    def stop(self) -> None:
        """Whoever waits for bytes gets Stopped."""
        self._fail(Stopped())
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._main.cancel)

    # The engine's side

    def add(self, file: RemoteFile) -> None:
        self._files.add(file)

    def start(self) -> None:
        """Somebody reads, so everything is known that will be wanted: fetching it begins."""
        with self._cond:
            parts = [part for file in self._files for part in file.cut()]
            if parts:
                self._waiting = sorted([*self._waiting, *parts], key=lambda part: part.turn, reverse=True)
                self._nudge()

    def forget(self, file: RemoteFile, parts: list[Part]) -> None:
        """A file is closed."""
        gone = set(map(id, parts))
        with self._cond:
            self._files.discard(file)
            self._waiting = [part for part in self._waiting if id(part) not in gone]
            for part in parts:
                part.uses = 0
                self._let_go(part)

    def release(self, part: Part) -> None:
        with self._cond:
            part.uses -= 1
            if part.uses == 0:
                self._let_go(part)

    def read(self, part: Part, into: memoryview, begin: int) -> None:
        """Fills ``into`` from ``begin`` bytes into the part. Raises what kept it from coming."""
        with self._cond:
            if not part.here and not part.asked:
                self._urgent.append(part)
                self._nudge()
            while not self._cond.wait_for(lambda: part.here or self._problem is not None, TICK):
                if threading.get_ident() == self._owner:
                    self._check()
            if not part.here:
                assert self._problem is not None  # noqa: S101
                raise self._problem
            if not part.read:
                part.read = True
                self._ahead -= 1
                self._nudge()
            assert part.slot is not None  # noqa: S101  it is here
        self._scratch.read(into, part.slot, begin)

    def _let_go(self, part: Part) -> None:
        """The lock is held. A part on its way is let go when it arrives."""
        if part.here and part.slot is not None:
            self._scratch.free(part.slot)
            self._ahead -= not part.read
            part.here, part.slot, part.read = False, None, True
            self._nudge()

    def _nudge(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._wake.set)

    def _fail(self, problem: BaseException) -> None:
        with self._cond:
            self._problem = self._problem or problem
            self._cond.notify_all()

    # The thread's side

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        except BaseException as problem:  # noqa: BLE001  whoever reads gets it
            self._fail(problem)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _fetch_all(self) -> None:
        async with self._hub.transport.async_client(self._hub.fetching) as client, asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._fetch_some(client))

    async def _fetch_some(self, client: httpx2.AsyncClient) -> None:
        while True:
            part = self._next()
            if part is None:
                self._wake.clear()
                part = self._next()
            if part is None:
                await self._wake.wait()
                continue
            try:
                await self._fetch(client, part)
            except asyncio.CancelledError:
                raise
            except BaseException as problem:  # noqa: BLE001  whoever reads gets it
                self._fail(problem)
                return

    def _next(self) -> Part | None:
        with self._cond:
            while self._urgent:
                part = self._urgent.pop(0)
                if not part.asked and part.uses:
                    self._waiting.remove(part)
                    return self._take(part)
            while self._waiting and self._ahead < AHEAD:
                if (part := self._waiting.pop()).uses:
                    return self._take(part)
            return None

    def _take(self, part: Part) -> Part:
        part.asked = True
        self._ahead += 1
        part.slot = self._scratch.take()
        return part

    async def _fetch(self, client: httpx2.AsyncClient, part: Part) -> None:
        slot, done = part.slot, 0
        assert slot is not None  # noqa: S101

        def take(piece: memoryview) -> None:
            nonlocal done
            self._scratch.write(piece, slot, done)
            done += len(piece)
            self.fetched += len(piece)

        await self._pause_for_all()
        await part.file.remote.read(client, part.begin, part.end, take, self._pause)
        with self._cond:
            part.here = True
            if part.uses == 0:
                self._let_go(part)
            self._cond.notify_all()

    async def _pause(self, seconds: float, why: str, everybody: bool) -> None:
        with self._cond:
            self._news.append(f"{why} Trying again in {seconds:.0f} s.")
        if everybody:
            self._resume = max(self._resume, self._loop.time() + seconds)
        await asyncio.sleep(seconds)

    async def _pause_for_all(self) -> None:
        while (left := self._resume - self._loop.time()) > 0:
            await asyncio.sleep(left)
