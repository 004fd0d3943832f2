"""Imported by the workers under test: makes them slow, holds them in a stage, or kills them, as a file says.

The file (its path is in ``TEST_FAULTS``) holds JSON and is read again for every tensor and stage:

``tensor_seconds``   how much longer each tensor takes
``kill_at_tensor``   SIGKILL to this process at the n-th tensor of an attempt, once for each file in ``kills``
``safe_first``       before that, wait until a finished file of this job is on record, however slow the disk
``hold``             stay in this stage, checking as the step would, as long as the file says so
``no_space_after``   writing fails with ENOSPC after so many tensors
``deaf``             stay in this stage without ever checking, as code that hangs would
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import app.preflight
import app.premix
import worker.engine.execute as engine
from app.experts.planning import plan_mixture
from app.planning.plan_merge import make_plan
from tests.support.waiting import until
from worker.runner import Runner

FILE = Path(os.environ["TEST_FAULTS"])
SHARD_BYTES = 1_000_000
"""Several shards, also for tiny models."""


def wanted() -> dict[str, Any]:
    try:
        return json.loads(FILE.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def here(stage: str) -> None:
    """Tell the test that a process has come this far."""
    (FILE.parent / f"at-{stage}").write_text(str(os.getpid()))


_make_tensor = engine._Run._make_tensor
_enter, _shard = Runner.enter, Runner.shard
_counter = count(1)


def make_tensor(self: Any, *args: Any) -> None:
    number, now = next(_counter), wanted()
    here("tensor")
    time.sleep(now.get("tensor_seconds", 0))
    if number == now.get("kill_at_tensor") and (bullets := list((FILE.parent / "kills").iterdir())):
        if now.get("safe_first"):
            until((FILE.parent / "at-shard").exists)
        bullets[0].unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if number > now.get("no_space_after", number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _make_tensor(self, *args)


def shard(self: Runner, *args: Any) -> None:
    _shard(self, *args)
    here("shard")


def enter(self: Runner, stage: str, text: str, **totals: int) -> None:
    _enter(self, stage, text, **totals)
    here(stage)
    while wanted().get("hold") == stage:
        self.check()
        time.sleep(0.05)
    while wanted().get("deaf") == stage:
        time.sleep(0.05)


app.preflight.make_plan = partial(make_plan, shard_bytes=SHARD_BYTES)
app.premix.plan_mixture = partial(plan_mixture, shard_bytes=SHARD_BYTES)
engine._Run._make_tensor = make_tensor
Runner.enter, Runner.shard = enter, shard
