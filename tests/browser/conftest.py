"""Weightloom as a user starts it, a stand-in Hub, and Chromium."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.support import chromium
from tests.support.hub import StandInHub
from tests.support.hub_state import User
from tests.support.real_models import ADAPTERS, RealModels, prepare
from tests.support.tiny_models import make_tiny

SHOTS = Path(__file__).resolve().parents[2] / "screenshots"
TOKEN = "hf_TESTTOKENTESTTOKENTESTTOKEN"
READY_SECONDS = 90


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
    """``weightloom up`` in a process of its own, until it says that it is ready."""
    port = free_port()
    data = folder / "data"
    env = {
        **os.environ,
        "WEIGHTLOOM_DATA": str(data),
        "WEIGHTLOOM_PORT": str(port),
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
        _await_ready(process, data)
        yield Running(f"http://127.0.0.1:{port}", data, process)
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout:
            process.stdout.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await_ready(process: subprocess.Popen[str], data: Path) -> None:
    assert process.stdout is not None
    guard = threading.Timer(READY_SECONDS, process.kill)
    guard.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if "ready at" in line:
            guard.cancel()
            return
    logs = "\n".join(path.read_text()[-2000:] for path in sorted((data / "logs").glob("*.log")))
    raise AssertionError(f"Weightloom did not start:\n{''.join(said)}\n{logs}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=list(chromium.FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(15_000)
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
