"""Pace, bar, sizes, explanations, the search for Redis."""

from __future__ import annotations

import errno
import io
import shutil
from pathlib import Path

import pytest

from app.recipe.findings import Refused, refuse
from tests.jobs.conftest import Clock
from worker.bar import Bar
from worker.celery_app import celery
from worker.explain import explain
from worker.pace import Pace
from worker.redis_server import find_redis_server
from worker.sizes import gigabytes


def test_pace_follows_the_last_seconds() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.rate is None
    assert pace.seconds_left(0, 100) is None
    for second in range(60):
        clock.now += 1
        pace.at(second * 100)
    assert pace.rate == pytest.approx(100)
    assert pace.seconds_left(5900, 6900) == pytest.approx(10)
    for second in range(60):
        clock.now += 1
        pace.at(5900 + second * 10)
    assert pace.rate == pytest.approx(10)
    pace.restart()
    assert pace.rate is None


def test_pace_foretells_nothing_from_the_first_small_tensors() -> None:
    clock = Clock()
    pace = Pace(clock)
    for done in (0, 900):
        clock.now += 10
        pace.at(done)
    assert pace.rate == pytest.approx(90)
    assert pace.seconds_left(900, 1_000_000) is None
    assert pace.seconds_left(1000, 1_000_000) == pytest.approx(11_100)


def test_pace_when_nothing_moves() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(10):
        clock.now += 1
        pace.at(500)
    assert pace.rate == 0
    assert pace.seconds_left(500, 1000) is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_draws_on_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    clock = Clock()
    for out, draws in ((Terminal(), True), (io.StringIO(), False)):
        bar = Bar(out, clock)
        bar.begin("Merging", 2_000_000_000)
        for step in range(1, 11):
            clock.now += 1
            bar.at(step * 100_000_000, "layer")
        bar.say("A line.")
        told = out.getvalue()
        assert ("━" in told) == draws
        assert told.endswith("A line.\n")
        if draws:
            last = told.split("\r\x1b[2K")[-2]
            assert last == f"Merging {'━' * 14}{'╌' * 14}  50%  1.0 GB of 2.0 GB  100 MB/s  0:10 left  layer"


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0 kB"), (144_000, "144 kB"), (2_500_000, "2 MB"), (1_500_000_000, "1.5 GB")]
)
def test_sizes(size: int, told: str) -> None:
    assert gigabytes(size) == told


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (refuse("gated", "x", "It is gated."), "gated"),
        (OSError(errno.ENOSPC, "No space left"), "disk-full"),
        (OSError(errno.EFBIG, "File too large"), "disk-full"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "disk-problem"),
        (MemoryError(), "out-of-memory"),
        (KeyError("hf_CANARYabcdefghijklmnopqrstuvwxyz1234"), "unexpected"),
    ],
)
def test_every_failure_can_be_told(problem: Exception, code: str) -> None:
    (finding,) = explain(problem)
    assert (finding.level, finding.code) == ("error", code)
    assert finding.text
    assert "CANARY" not in finding.text


def test_redis_is_found_on_the_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "redis-server"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == mine
    monkeypatch.setenv("PATH", "")
    assert shutil.which("redis-server") is None
    assert find_redis_server().name == "redis-server"  # the wheel's


def test_without_any_redis_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Refused, match="apt install redis-server"):
        find_redis_server()


def test_the_settings_the_promise_rests_on() -> None:
    """Each of them was chosen for a measured reason; see the comments beside them."""
    expected = {
        "accept_content": ["json"], "task_serializer": "json", "task_ignore_result": True, "result_backend": None,
        "task_acks_late": True, "task_reject_on_worker_lost": True, "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1, "worker_pool_start_method": "spawn", "worker_max_tasks_per_child": 1,
        "worker_enable_remote_control": False, "worker_cancel_long_running_tasks_on_connection_loss": False,
    }  # fmt: skip
    assert {name: celery.conf[name] for name in expected} == expected
    assert celery.conf.broker_transport_options["visibility_timeout"] == 24 * 3600
