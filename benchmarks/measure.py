"""One program run and measured from its start to its exit: time, processor time, memory, and who disturbed it.

A process's peak memory as the kernel tells it starts at that of the process it was forked from. So the program is not
started from the harness but from a small process of its own, which is this file run as a script with the standard
library alone.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MUCH_STEAL = 0.05
"""A run is stolen when the hypervisor took more than this share of the machine's processor time away from it."""


class Failed(Exception):
    """The program did not end well; the text is what it said last."""


@dataclass(frozen=True)
class Measured:
    """Seconds, and bytes. ``cpu`` is user + system. ``steal`` and ``others``: processor seconds of the whole machine
    that the hypervisor gave to somebody else, and that other processes here used."""

    wall: float
    cpu: float
    peak_bytes: int
    steal: float = 0.0
    others: float = 0.0

    @property
    def stolen(self) -> bool:
        return self.steal > MUCH_STEAL * self.wall * (os.cpu_count() or 1)


def run(command: Sequence[str | Path], folder: Path, environment: dict[str, str] | None = None) -> Measured:
    """Run ``command`` in ``folder`` to its end. Raises Failed when its exit code is not 0."""
    started = subprocess.run(
        [sys.executable, "-I", "-S", Path(__file__).resolve(), *command],
        cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = started.stdout.rpartition("\n")[2]
    if started.returncode != 0 or not last:
        said = started.stderr[-2000:] or started.stdout[-2000:]
        raise Failed(f"{' '.join(map(str, command))} ended with {started.returncode}:\n{said}")
    return Measured(**json.loads(last))


def machine() -> tuple[float, float]:
    """Processor seconds since boot, of all cores: busy with anything, and stolen. Zeros where /proc/stat is not."""
    try:
        with Path("/proc/stat").open() as file:
            user, nice, system, _idle, _wait, hard, soft, steal = (float(one) for one in file.readline().split()[1:9])
    except OSError:
        return 0.0, 0.0
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + hard + soft) / tick, steal / tick


def peak_bytes(used: resource.struct_rusage) -> int:
    """The largest resident size, which macOS gives in bytes and Linux in KiB."""
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _launch(command: list[str]) -> int:
    """Run the command with its output on the error stream; the last line of the standard output is a Measured."""
    busy, steal = machine()
    begin = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - begin
    busy_after, steal_after = machine()
    cpu = used.ru_utime + used.ru_stime
    told = {
        "wall": wall,
        "cpu": cpu,
        "peak_bytes": peak_bytes(used),
        "steal": steal_after - steal,
        "others": max(0.0, busy_after - busy - cpu),
    }
    print(json.dumps(told), end="")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(abs(_launch(sys.argv[1:])))
