"""A progress bar for terminals: one line, drawn again and again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TextIO

from worker.pace import Pace
from worker.sizes import gigabytes

REDRAW_SECONDS = 0.1
WIDTH = 28


class Bar:
    """Draws on ``out`` when that is a terminal, and nothing otherwise. ``say`` prints a line above the bar."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._draws = out.isatty()
        self._pace = Pace(clock)
        self._name, self._total = "", 0
        self._drawn_at = float("-inf")
        self._drawn = False

    def begin(self, name: str, total: int) -> None:
        """A new bar, of ``total`` bytes; none for 0."""
        self._name, self._total = name, total
        self._pace.restart()

    def at(self, done: int, note: str = "") -> None:
        self._pace.at(done)
        now = self._clock()
        if not self._draws or not self._total or (now - self._drawn_at < REDRAW_SECONDS and done < self._total):
            return
        self._drawn_at = now
        width = shutil.get_terminal_size().columns - 1
        line = bar_line(self._name, done, self._total, self._pace, note)
        self._out.write(f"\r\x1b[2K{line[:width]}")
        self._out.flush()
        self._drawn = True

    def say(self, line: str) -> None:
        self.clear()
        self._out.write(f"{line}\n")
        self._out.flush()

    def clear(self) -> None:
        if self._drawn:
            self._out.write("\r\x1b[2K")
            self._drawn = False


def bar_line(name: str, done: int, total: int, pace: Pace, note: str) -> str:
    share = min(1.0, done / total)
    full = int(share * WIDTH)
    parts = [f"{name} {'━' * full}{'╌' * (WIDTH - full)} {share:4.0%}", f"{gigabytes(done)} of {gigabytes(total)}"]
    if pace.rate:
        parts.append(f"{gigabytes(int(pace.rate))}/s")
    left = pace.seconds_left(done, total)
    if left is not None:
        parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
    return "  ".join([*parts, note] if note else parts)
