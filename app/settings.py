"""Every setting, by environment variable (``WEIGHTLOOM_...``).

In the standard library alone: commands that take a second should not spend it on reading their settings.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.recipe.findings import Finding, Refused

ROOT = Path(__file__).resolve().parent.parent
PUBLIC_HUB = "https://huggingface.co"
PREFIX = "WEIGHTLOOM_"
LONGEST_SOCKET = 100
"""Bytes of a Unix socket's path: Linux allows 107, macOS 103."""


def from_environment() -> dict[str, str]:
    """What the environment sets, by field; the names of variables count in any case."""
    upper = {name.upper(): value for name, value in os.environ.items()}
    return {name.removeprefix(PREFIX).lower(): value for name, value in upper.items() if name.startswith(PREFIX)}


def _setting(default: Any, read: Callable[[Any], Any], secret: bool = False) -> Any:
    """``read`` converts what is given, a variable's text or a value; its ValueError says what is wrong with it."""
    return field(default=default, repr=not secret, metadata={"read": read})


def _address(value: Any) -> str:
    return str(value).rstrip("/")


def _folder(value: Any) -> Path:
    return Path(value).expanduser().resolve()


def _whole(least: int, most: int | None = None) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise ValueError("must be a whole number") from None
        if number < least or (most is not None and number > most):
            raise ValueError(f"must be {least} to {most}" if most is not None else f"must be {least} or more")
        return number

    return read


def _seconds(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError("must be a number of seconds above 0")
    return number


def _hosts(value: Any) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else tuple(value)


def _roots(value: Any) -> Mapping[str, Path]:
    if not isinstance(value, str):
        return {name: Path(path) for name, path in value.items()}
    pairs = [piece.partition("=") for piece in value.split(",") if piece.strip()]
    if not all(equals and name.strip() and path.strip() for name, equals, path in pairs):
        raise ValueError("must look like name=/path,name2=/path2")
    return {name.strip(): Path(path.strip()) for name, _, path in pairs}


@dataclass(frozen=True, init=False)
class Settings:
    """What can be set from outside. ``weightloom up`` fills in what is left open.

    Values given here go before those of the environment. Raises Refused (``bad-setting``) for what cannot be.
    """

    data: Path = _setting(Path("data"), _folder)  # noqa: RUF009  it is a field
    """Folder for the database, results and the private Redis."""
    host: str = _setting("127.0.0.1", str)
    """Address the web server listens on."""
    port: int = _setting(8300, _whole(0, 65535))
    """Port the web server listens on."""
    allowed_hosts: tuple[str, ...] = _setting((), _hosts)
    """Further names the server answers to, as in the address: name:port,name2 (behind a proxy)."""
    redis_url: str | None = _setting(None, str)
    """Redis to use. Unset: a private one is started in the data folder."""
    database_url: str | None = _setting(None, str)
    """SQLAlchemy URL. Unset: SQLite in the data folder."""
    hub_endpoint: str = _setting(PUBLIC_HUB, _address)
    """The Hugging Face Hub, or a mirror or stand-in of it."""
    model_roots: Mapping[str, Path] = _setting("", _roots)
    """Folders whose models may be picked: name=/path,name2=/path2."""
    secret_key: str | None = _setting(None, str, secret=True)
    """Encrypts the Hub tokens kept for jobs. Unset: a key file is made in the data folder."""
    lease_seconds: float = _setting(60.0, _seconds)
    """How long a silent worker keeps its job."""
    sweep_seconds: float = _setting(15.0, _seconds)
    """How often each worker looks for lost messages and jobs."""
    stall_seconds: float = _setting(900.0, _seconds)
    """A job without a byte or tensor of progress this long fails."""
    max_parameters: int | None = _setting(None, _whole(1))
    """Refuse merges whose result has more parameters."""

    def __init__(self, **given: Any) -> None:
        told = {**from_environment(), **given}
        problems = []
        for one in fields(self):
            value = told.get(one.name, one.default)
            try:
                object.__setattr__(self, one.name, None if value is None else one.metadata["read"](value))
            except ValueError as error:
                name = PREFIX + one.name.upper()
                problems.append(Finding("error", "bad-setting", name, f"{name} {error}.", "Change or unset it."))
        if problems:
            raise Refused(problems)

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """Where the database is when it is SQLite."""
        return self.data / "weightloom.sqlite"

    @property
    def redis(self) -> str:
        """The Redis to talk to. Without a setting: the private one's Unix socket in the data folder."""
        return self.redis_url or f"unix://{quote(str(self.redis_socket))}"

    @property
    def redis_socket(self) -> Path:
        """In the data folder, or in a short folder of its own when that path is too long for a Unix socket."""
        socket = self.data / "redis" / "redis.sock"
        if len(os.fsencode(socket)) <= LONGEST_SOCKET:
            return socket
        name = f"weightloom-{os.getuid()}-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]}"
        return Path(tempfile.gettempdir()) / name / "redis.sock"

    @property
    def artifacts(self) -> Path:
        """Finished checkpoints, one folder a job."""
        return self.data / "artifacts"

    @property
    def work(self) -> Path:
        """Checkpoints in the making, one folder a job; on the same filesystem as ``artifacts``."""
        return self.data / "work"

    @property
    def comparisons(self) -> Path:
        """Finished comparisons of weights, one file a job."""
        return self.data / "comparisons"

    @property
    def alone(self) -> bool:
        """Whether only people on this very machine reach the server: then all of them are taken to be one."""
        return self.host in ("127.0.0.1", "::1", "localhost") and not self.allowed_hosts
