"""Processes that belong to this one: started with a log of their own, and never left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LARGEST_LOG = 10 << 20
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """One process in a session of its own: a Ctrl-C on the terminal reaches only us. Its output goes to ``log``.

    On Linux the kernel kills it when we die, even by ``kill -9``. Start it from the main thread: the kernel watches the
    thread that started it.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.name, self.command, self.log, self._env = name, list(command), log, dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._output_from = 0

    def start(self) -> None:
        """Raises OSError."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        with self.log.open("ab") as output:
            self._output_from = output.tell()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
                preexec_fn=_die_with_parent if _libc is not None else None,
            )

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and not self.ended:
            self._process.send_signal(number)

    def wait(self, until: float) -> bool:
        """Whether it has ended by ``until`` (monotonic seconds)."""
        if self._process is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        return self.ended

    def kill(self) -> None:
        """End it and all it has started, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_words(self, lines: int = 15) -> str:
        """The end of what it has said since it was started."""
        with self.log.open("rb") as file:
            file.seek(max(self._output_from, self.log.stat().st_size - 20_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _die_with_parent() -> None:
    """Between fork and exec."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
