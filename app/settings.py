"""Every setting, by environment variable (``WEIGHTLOOM_...``)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
PUBLIC_HUB = "https://huggingface.co"
LONGEST_SOCKET = 100
"""Bytes of a Unix socket's path: Linux allows 107, macOS 103."""


class Settings(BaseSettings):
    """What can be set from outside. ``weightloom up`` fills in what is left open."""

    model_config = SettingsConfigDict(env_prefix="WEIGHTLOOM_", extra="ignore")

    data: Path = Field(Path("data"), description="Folder for the database, results and the private Redis.")
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    port: int = Field(8300, ge=0, le=65535, description="Port the web server listens on.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Further names the server answers to, as in the address: name:port,name2 (behind a proxy)."
    )
    redis_url: str | None = Field(None, description="Redis to use. Unset: a private one is started in the data folder.")
    database_url: str | None = Field(None, description="SQLAlchemy URL. Unset: SQLite in the data folder.")
    hub_endpoint: str = Field(PUBLIC_HUB, description="The Hugging Face Hub, or a mirror or stand-in of it.")
    model_roots: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description="Folders whose models may be picked: name=/path,name2=/path2."
    )
    secret_key: SecretStr | None = Field(
        None, description="Encrypts the Hub tokens kept for jobs. Unset: a key file is made in the data folder."
    )
    lease_seconds: float = Field(60, gt=0, description="How long a silent worker keeps its job.")
    sweep_seconds: float = Field(15, gt=0, description="How often each worker looks for lost messages and jobs.")
    stall_seconds: float = Field(900, gt=0, description="A job without a byte or tensor of progress this long fails.")
    max_parameters: int | None = Field(None, ge=1, description="Refuse merges whose result has more parameters.")

    @field_validator("model_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [piece.partition("=") for piece in value.split(",") if piece.strip()]
        for name, equals, path in pairs:
            if not equals or not name.strip() or not path.strip():
                raise ValueError("must look like name=/path,name2=/path2")
        return {name.strip(): Path(path.strip()) for name, _, path in pairs}

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("hub_endpoint")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @cached_property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data / 'weightloom.sqlite'}"

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
    def is_public_hub(self) -> bool:
        return self.hub_endpoint == PUBLIC_HUB
