"""Warming up leaves nothing to compile for the first merge, and a merge does not load the compiler."""

from __future__ import annotations

import subprocess
import sys


def test_every_entry_is_there_afterwards_and_numba_is_not_loaded_for_it() -> None:
    """Once to compile what is missing, and once more in a process that finds everything compiled."""
    compiling = "from worker.engine.warm_up import warm_up; warm_up()"
    code = (
        "import sys; from worker.engine.warm_up import warm_up; from worker.engine.kernels import entries, native;"
        " warm_up(); assert set(native.loaded()) == set(entries.ENTRIES), native.loaded();"
        " sys.exit('numba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", compiling], check=True, timeout=200)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
