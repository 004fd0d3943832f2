"""Tells open event streams that the server is about to stop.

uvicorn waits for open connections before it ends the lifespan, so an idle stream would hold it up until its client
leaves. The signal that stops uvicorn is heard here too, and then passed on.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Set once, when SIGINT or SIGTERM arrives. Belongs to one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen for the signals, inside the running loop. Outside the main thread none arrive, so nothing is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {one: signal.getsignal(one) for one in _SIGNALS}

        def heard(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._event.set)
            previous = before[signal.Signals(number)]
            if callable(previous):
                previous(number, frame)

        for one in _SIGNALS:
            signal.signal(one, heard)
        try:
            yield
        finally:
            for one, previous in before.items():
                signal.signal(one, previous)
