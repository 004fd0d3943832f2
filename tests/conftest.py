"""How the tests are spread over processes and threads, that they do the same each time, and that a failure is told at
once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Test processes share the cores. Threads of NumPy and torch that wait for each other spin, and cost more than twice
the time; the engine has its own threads and lets those libraries use one each."""

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
"""What passes once passes again. HYPOTHESIS_PROFILE=default draws other examples each time."""

TESTS = Path(__file__).parent
LONG = ("real", "browser", "worker", "test_compose_commands.py", "web", "benchmarks")
"""Those with real models, real processes and waiting in them begin first: begun last, one of them would hold up the end
alone."""
BROWSERS = 2
"""So many processes drive a browser, with a Weightloom each; the others have the time in which those wait."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.path.relative_to(TESTS).parts[0]))


def _place(folder: str) -> int:
    return LONG.index(folder) if folder in LONG else len(LONG)


class ByFile(LoadFileScheduling):
    """One process for a file, and the browser's files in ``BROWSERS`` lots."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if "/browser/" not in file:
            return file
        return f"browser {self._browsers.setdefault(file, len(self._browsers)) % BROWSERS}"

    def __init__(self, *given: object) -> None:
        super().__init__(*given)
        self._browsers: dict[str, int] = {}


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile | None:
    return ByFile(config, log) if config.option.dist == "loadfile" else None


class AtOnce:
    """Tells a failure when it happens; pytest alone tells it at the end, when many processes take part."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(f"\n{report.nodeid}, {report.when}:\n{report.longreprtext}")


def pytest_sessionstart(session: pytest.Session) -> None:
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and session.config.getoption("dist", "no") != "no":
        session.config.pluginmanager.register(AtOnce(terminal))
