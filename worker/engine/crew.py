"""The threads of one merge: each makes whole tensors, and those with nothing left to do help with large ones."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

S = TypeVar("S")
Bench = Any
"""A thread's own buffers, made once by the back end."""
Task = Callable[[Bench], None]

BEAT_SECONDS = 0.1


def default_threads() -> int:
    """The processor's cores, at least 2, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(cores, 8))


class Stopped(Exception):
    """Raised inside the crew's threads when the merge is over for another reason."""


class _Share:
    """A pass over one large tensor whose segments several threads take in turn."""

    def __init__(self, count: int, run: Callable[[int, Bench], Any]) -> None:
        self.run = run
        self.results: list[Any] = [None] * count
        self.next = 0
        self.left = count

    def take(self) -> int | None:
        if self.next == len(self.results):
            return None
        self.next += 1
        return self.next - 1


class Crew:
    """``threads`` workers. ``run`` gives them tasks and waits; a task may ``share`` its passes with idle workers.

    The first exception of a task stops all others at their next ``check`` and comes out of ``run``.
    """

    def __init__(self, threads: int, make_bench: Callable[[], Bench]) -> None:
        self._make_bench = make_bench
        self._cond = threading.Condition()
        self._settled = threading.Event()
        self._tasks: deque[Task] = deque()
        self._shares: list[_Share] = []
        self._busy = 0
        self._closed = False
        self._error: BaseException | None = None
        self.stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-{i}", daemon=True) for i in range(max(1, threads))
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        with self._cond:
            self._closed = True
            self._cond.notify_all()
        for thread in self._threads:
            thread.join()

    def run(self, tasks: Sequence[Task], beat: Callable[[], None]) -> None:
        """Do all tasks; ``beat`` is called here about ten times a second and may raise to stop everything."""
        self._settled.clear()
        with self._cond:
            self._tasks.extend(tasks)
            self._cond.notify_all()
            self._settle()
        try:
            beat()
            while not self._settled.wait(BEAT_SECONDS):
                beat()
            beat()
        except BaseException:
            self._stop()
            self._settled.wait()
            raise
        if self._error is not None:
            raise self._error

    def check(self) -> None:
        """Called by tasks between chunks: leaves when the merge is being stopped."""
        if self.stopping:
            raise Stopped

    def share(self, count: int, run: Callable[[int, Bench], S], bench: Bench) -> list[S]:
        """``[run(i, bench) for i in range(count)]``, with the help of idle threads; each uses its own bench."""
        if count <= 1:
            return [run(index, bench) for index in range(count)]
        share = _Share(count, run)
        with self._cond:
            self._shares.append(share)
            self._cond.notify_all()
        try:
            while (index := self._take(share)) is not None:
                self._do_segment(share, index, bench)
            with self._cond:
                while share.left and not self.stopping:
                    self._cond.wait()
        finally:
            with self._cond:
                self._shares.remove(share)
        self.check()
        return share.results

    def _take(self, share: _Share) -> int | None:
        self.check()
        with self._cond:
            return share.take()

    def _do_segment(self, share: _Share, index: int, bench: Bench) -> None:
        share.results[index] = share.run(index, bench)
        with self._cond:
            share.left -= 1
            if not share.left:
                self._cond.notify_all()

    def _next(self) -> Task | None:
        """The next thing to do; the lock is held. Own tensors come first, then segments of others' tensors."""
        if self.stopping:
            return None
        if self._tasks:
            return self._tasks.popleft()
        for share in self._shares:
            index = share.take()
            if index is not None:
                return lambda bench, share=share, index=index: self._do_segment(share, index, bench)  # type: ignore[misc]
        return None

    def _work(self) -> None:
        bench = None
        while True:
            with self._cond:
                while (task := self._next()) is None:
                    if self._closed:
                        return
                    self._cond.wait()
                self._busy += 1
            try:
                bench = self._make_bench() if bench is None else bench
                task(bench)
            except Stopped:
                pass
            except BaseException as error:  # noqa: BLE001  it is raised again by run(), in the calling thread
                self._stop(error)
            with self._cond:
                self._busy -= 1
                self._settle()

    def _stop(self, error: BaseException | None = None) -> None:
        with self._cond:
            self._error = self._error or error
            self.stopping = True
            self._tasks.clear()
            self._cond.notify_all()
            self._settle()

    def _settle(self) -> None:
        """Tells ``run`` when nothing is left to do; the lock is held."""
        if not self._busy and not self._tasks:
            self._settled.set()
