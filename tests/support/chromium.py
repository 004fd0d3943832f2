"""The Chromium that browser tests drive, and how to get one: ``python -m tests.support.chromium``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Quiet and self-contained: nothing but the pages under test is asked for."""


def find() -> str | None:
    """The path of a Chromium: on PATH, Debian's, or Playwright's own download."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return next((path for path in ("/usr/bin/chromium", _playwrights_own()) if path and Path(path).is_file()), None)


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def install() -> str:
    """Install one: Debian's package as root, else Playwright's download."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=False, env=quiet)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    found = find()
    if found is None:
        sys.exit("The browser tests need Chromium and none could be installed. Put chromium on PATH and try again.")
    return found


if __name__ == "__main__":
    print(f"Browser tests use {find() or install()}")
