"""The tables of the jobs. The row is the job: messages and streams are only hints about it.

Times are Unix seconds (UTC), sizes bytes. Columns marked *fenced* are written by a runner, and only while its epoch
is the row's epoch.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.jobs.states import ENDED


class Job(Base):
    """One run of something: a merge, a mixture of experts or an adapter in the making, the upload of a finished one, or
    a comparison."""

    __tablename__ = "job"
    __table_args__ = (
        Index("job_by_state", "state", "created_at"),
        Index("job_by_age", "created_at"),
        Index("job_by_recipe", "recipe_hash"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """128 random bits as hex: whoever does not know it cannot guess it."""
    kind: Mapped[str] = mapped_column(String(16))
    """``merge``, ``upload``, ``compare``, ``merge-adapters``, ``extract-lora`` or ``mixture``; also the name of its
    task."""
    state: Mapped[str] = mapped_column(String(16), default="queued")
    stage: Mapped[str | None] = mapped_column(String(16))
    """Fenced. What it is doing, or did last: see ``STAGES``."""
    title: Mapped[str] = mapped_column(Text, default="")

    recipe: Mapped[str] = mapped_column(Text, default="")
    """The YAML as it was handed in."""
    recipe_hash: Mapped[str | None] = mapped_column(String(64))
    pinned: Mapped[str | None] = mapped_column(Text)
    """Fenced. The same recipe as YAML, every Hub parent pinned to a commit: what all attempts work from."""
    parents: Mapped[list[str]] = mapped_column(JSON, default=list)
    """``owner/name@commit`` or ``local:root/folder``, each parent once."""
    seed: Mapped[int] = mapped_column(BigInteger, default=0)
    params: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """For a merge ``{"device", "stream"}``, for a mixture of experts ``{"stream"}``, for an upload
    ``{"repo", "private"}``, for a comparison and for adapters ``as_params()`` of what is wanted."""
    source_job: Mapped[str | None] = mapped_column(ForeignKey("job.id"))
    """The job whose artifact an upload takes."""
    token_id: Mapped[str | None] = mapped_column(String(32))
    """The Hub token to use, in the vault; gone when the job has ended."""
    idempotency_key: Mapped[str | None] = mapped_column(String(200), unique=True)

    tensors_done: Mapped[int] = mapped_column(BigInteger, default=0)
    tensors_total: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_total: Mapped[int] = mapped_column(BigInteger, default=0)
    rate: Mapped[float | None] = mapped_column(Double)
    """Fenced. Bytes a second, over the last seconds."""
    eta_seconds: Mapped[float | None] = mapped_column(Double)
    memory_peak: Mapped[int] = mapped_column(BigInteger, default=0)
    """Fenced. The most main memory its process has held so far."""
    shards_total: Mapped[int] = mapped_column(default=0)
    """Fenced. Files of weights the result will have."""
    memory_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    """Fenced. Main memory the check expects it to need."""
    disk_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    """Fenced. Disk space in the data folder it has reserved and not yet filled."""

    error: Mapped[list[dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))
    """Findings, as dicts, when it has failed."""
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """For an artifact ``{"bytes", "files"}``, of a merge ``"took"`` besides (see ``pace``), for an upload
    ``{"url", "commit"}``, for a comparison ``{"tensors"}``."""

    worker: Mapped[str | None] = mapped_column(String(200))
    pid: Mapped[int | None] = mapped_column()
    device: Mapped[str | None] = mapped_column(String(100))
    attempt: Mapped[int] = mapped_column(default=0)
    """How often work on it began, not counting those that were handed back."""
    epoch: Mapped[int] = mapped_column(default=0)
    """Goes up by one with every claim; the fencing token of the runner."""
    crashes: Mapped[int] = mapped_column(default=0)
    """How often its worker died."""
    lease_until: Mapped[float | None] = mapped_column(Double)
    cancel_requested_at: Mapped[float | None] = mapped_column(Double)
    sent_at: Mapped[float | None] = mapped_column(Double)
    """When a message for it was last sent."""
    created_at: Mapped[float] = mapped_column(Double)
    started_at: Mapped[float | None] = mapped_column(Double)
    finished_at: Mapped[float | None] = mapped_column(Double)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def makes_files(self) -> bool:
        """Whether it leaves an artifact when it succeeds."""
        return self.kind in MAKE_FILES

    @property
    def makes_adapter(self) -> bool:
        return self.kind in MAKE_ADAPTERS


STAGES = {
    "merge": ("checking", "downloading", "merging", "verifying", "finalising"),
    "upload": ("uploading",),
    "compare": ("checking", "downloading", "comparing", "keeping"),
    "merge-adapters": ("checking", "downloading", "merging", "finalising"),
    "extract-lora": ("checking", "downloading", "extracting", "finalising"),
    "mixture": ("checking", "downloading", "routing", "merging", "verifying", "finalising"),
}
"""What a job of each kind goes through, in order."""
MAKE_ADAPTERS = ("merge-adapters", "extract-lora")
MAKE_FILES = ("merge", "mixture", *MAKE_ADAPTERS)
"""Kinds of jobs with an artifact as their result."""
LINES = {"merge": MAKE_FILES, "io": ("upload", "compare")}
"""Queue -> the kinds of jobs that wait in it. Uploads and samples wait for the network, the others for the machine:
neither holds up the other."""


class JobShard(Base):
    """One finished file of weights: written, synced and hashed. A later attempt does not make it again."""

    __tablename__ = "job_shard"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    file: Mapped[str] = mapped_column(String(255), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(64))
    """Hash of all that decides its bytes; a shard with another key belongs to another plan."""


class JobEvent(Base):
    """One line of a job's history. The id only grows, so a page that saw line n asks for what came after n."""

    __tablename__ = "job_event"
    __table_args__ = (Index("job_event_by_job", "job_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    at: Mapped[float] = mapped_column(Double)
    kind: Mapped[str] = mapped_column(String(16))
    """``log``, ``stage``, ``shard`` or ``done``."""
    text: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class Worker(Base):
    """A worker that was alive at ``seen_at``."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int] = mapped_column()
    queues: Mapped[list[str]] = mapped_column(JSON)
    device: Mapped[str] = mapped_column(String(100))
    memory_free: Mapped[int] = mapped_column(BigInteger)
    disk_free: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[str | None] = mapped_column(String(32))
    seen_at: Mapped[float] = mapped_column(Double)
