"""Weightloom as a user starts it, a stand-in Hub, and Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.support import chromium
from tests.support.hub import StandInHub
from tests.support.hub_state import User
from tests.support.real_models import ADAPTERS, RealModels, prepare
from tests.support.tiny_models import make_tiny
from worker.up import START_SECONDS, STOP_SECONDS

SHOTS = Path(__file__).resolve().parents[2] / "screenshots"
TOKEN = "hf_TESTTOKENTESTTOKENTESTTOKEN"
MARGIN_SECONDS = 30
"""Weightloom gives up starting and stopping by itself, and says why: this much later it is ended without a word."""
PATIENCE_MS = 30_000
"""How long anything on a page may take before its test fails. Playwright gives an expectation 5 s, which a busy machine
uses up on one answer of the server; nobody waits longer than the answer takes."""
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Running:
    """A started Weightloom."""

    url: str
    data: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="session")
def real() -> RealModels:
    return prepare()


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    root = tmp_path_factory.mktemp("hub")
    base = make_tiny(root / "weavers" / "tiny-base", seed=1)
    for seed, name in ((2, "tiny-chat"), (3, "tiny-code")):
        make_tiny(root / "weavers" / name, seed=seed, base=base)
    make_tiny(root / "weavers" / "tiny-deep", seed=4, layers=6)
    with StandInHub(root, tokens={TOKEN: User("weaver", "write")}) as running:
        yield running


@pytest.fixture(scope="session")
def app(real: RealModels, hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from start(tmp_path_factory.mktemp("app"), {"models": real.base.parent, "adapters": ADAPTERS}, hub.endpoint)


def start(folder: Path, roots: dict[str, Path], hub_endpoint: str) -> Iterator[Running]:
    """``weightloom up`` in a process of its own, on a port it chooses, until it says that it is ready."""
    data = folder / "data"
    env = {
        **os.environ,
        "WEIGHTLOOM_DATA": str(data),
        "WEIGHTLOOM_PORT": "0",
        "WEIGHTLOOM_MODEL_ROOTS": ",".join(f"{name}={path}" for name, path in roots.items()),
        "WEIGHTLOOM_HUB_ENDPOINT": hub_endpoint,
        "HF_HOME": str(folder / "hf"),
        "COVERAGE_PROCESS_START": "",
    }
    command = [str(Path(sys.executable).with_name("weightloom")), "up"]
    process = subprocess.Popen(
        command, env=env, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield Running(_ready_at(process, data), data, process)
    finally:
        process.terminate()
        process.wait(timeout=STOP_SECONDS + MARGIN_SECONDS)
        if process.stdout:
            process.stdout.close()


def _ready_at(process: subprocess.Popen[str], data: Path) -> str:
    """The address it tells. What it says when it does not start goes into the error."""
    assert process.stdout is not None
    guard = threading.Timer(START_SECONDS + MARGIN_SECONDS, process.kill)
    guard.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if "ready at" in line:
            guard.cancel()
            return line.split()[-1]
    guard.cancel()
    logs = "\n".join(path.read_text()[-2000:] for path in sorted((data / "logs").glob("*.log")))
    raise AssertionError(f"Weightloom did not start:\n{''.join(said)}\n{logs}")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed behind the last of these tests: its event loop counts as running in this thread as long as it is open, and
    other tests of the process start loops of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=list(chromium.FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that fails its test for anything the browser complains about: script errors, blocked styles."""
    page = context.new_page()
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert not complaints, complaints


def shot(page: Page, name: str, *, full: bool = False) -> None:
    """Keep a picture of the page in ``screenshots/``."""
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=full, caret="initial")


def finished(app: Running, job: str) -> None:
    """The job has come to its end."""
    deadline = time.monotonic() + 2 * PATIENCE_MS / 1000
    while (state := httpx2.get(f"{app.url}/api/jobs/{job}", timeout=60).json()["state"]) != "succeeded":
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


def arrived(page: Page, address: str) -> None:
    """A link or button has led to ``address`` (a regular expression), and the scripts there run: typed earlier, nothing
    would hear it."""
    expect(page).to_have_url(re.compile(address))
    page.wait_for_load_state("load")


def eventually(page: Page, read: Callable[[], Any], wanted: Any) -> None:
    """For what Playwright has no expectation for: reads until it reads ``wanted``."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while (found := read()) != wanted and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert found == wanted
