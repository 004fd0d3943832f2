"""A job in a worker's hands. Every write carries the claim's epoch: who has lost the job can no longer touch it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.orm import aliased

from app.db import Sessions
from app.jobs.models import Job, JobEvent, JobShard
from app.jobs.states import Move, after, before
from app.jobs.store import Clock
from app.recipe.findings import Finding

MAX_CRASHES = 3
"""So many deaths of its worker and a job is given up."""


class LeaseLost(Exception):
    """Another worker has taken this job over, or it was ended from outside: stop, and write nothing more."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far a job is. ``rate`` is bytes a second, ``memory_peak`` the bytes its process held at most."""

    tensors_done: int = 0
    tensors_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    rate: float | None = None
    eta_seconds: float | None = None
    memory_peak: int = 0


class Claim:
    """The right to work on one job, as long as the lease is renewed."""

    def __init__(self, sessions: Sessions, job: Job, lease: float, clock: Clock) -> None:
        self.job = job
        self.lease = lease
        self._sessions = sessions
        self._clock = clock
        self._mine: ColumnElement[bool] = and_(Job.id == job.id, Job.epoch == job.epoch, Job.state == "running")

    @classmethod
    def take(
        cls, sessions: Sessions, job_id: str, *, worker: str, pid: int, lease: float, device: str | None = None,
        clock: Clock = time.time,
    ) -> Claim | None:  # fmt: skip
        """Take the job if it waits, or if its worker died. None: somebody has it, or there is nothing to do."""
        now = clock()
        dead = and_(
            Job.state == before("take_over"), Job.lease_until < now, Job.crashes + 1 < MAX_CRASHES,
            Job.cancel_requested_at.is_(None),
        )  # fmt: skip
        statement = (
            update(Job)
            .where(Job.id == job_id, or_(Job.state == before("claim"), dead))
            .values(
                state=after("claim"), worker=worker, pid=pid, device=device, lease_until=now + lease,
                attempt=Job.attempt + 1, epoch=Job.epoch + 1,
                crashes=Job.crashes + case((Job.state == before("take_over"), 1), else_=0),
                started_at=func.coalesce(Job.started_at, now), disk_bytes=0,
            )
            .returning(Job)
        )  # fmt: skip
        with sessions.begin() as session:
            job = session.scalars(statement).one_or_none()
        return None if job is None else cls(sessions, job, lease, clock)

    def renew(self, numbers: Numbers | None = None) -> bool:
        """Keep the lease and write down how far it is. True: somebody asked to cancel. Raises LeaseLost."""
        values: dict[str, Any] = {"lease_until": self._clock() + self.lease, **(asdict(numbers) if numbers else {})}
        statement = update(Job).where(self._mine).values(values).returning(Job.id, Job.cancel_requested_at)
        with self._sessions.begin() as session:
            row = session.execute(statement).one_or_none()
        if row is None:
            raise LeaseLost(self.job.id)
        return row.cancel_requested_at is not None

    def enter(self, stage: str, numbers: Numbers, text: str) -> int:
        """Begin a stage. Returns the id of its line in the history. Raises LeaseLost."""
        self._write(stage=stage, **asdict(numbers))
        return self.note("stage", text, {"stage": stage})

    def pin(self, recipe: str, parents: Sequence[str], *, shards: int, memory_bytes: int) -> None:
        """Write down what exactly goes in, for this and every later attempt. Raises LeaseLost."""
        self._write(pinned=recipe, parents=list(parents), shards_total=shards, memory_bytes=memory_bytes)

    def note(self, kind: Literal["log", "stage", "shard"], text: str, data: Mapping[str, Any] | None = None) -> int:
        """Add a line to the history and return its id. Raises LeaseLost."""
        line = select(
            literal(self.job.id), literal(self._clock()), literal(kind), literal(text),
            literal(dict(data or {}), JobEvent.data.type),
        ).where(exists().where(self._mine))  # fmt: skip
        columns = ("job_id", "at", "kind", "text", "data")
        with self._sessions.begin() as session:
            found = session.execute(insert(JobEvent).from_select(columns, line).returning(JobEvent.id)).scalar()
        if found is None:
            raise LeaseLost(self.job.id)
        return found

    def reserve(self, need: int, free: int) -> int:
        """Reserve ``need`` bytes of the ``free`` ones for this job. Returns what is missing: 0 when it is granted.

        What other running jobs have reserved and not yet filled is not free. Raises LeaseLost.
        """
        other = aliased(Job)
        taken = (
            select(func.coalesce(func.sum(other.disk_bytes), 0))
            .where(other.state == "running", other.id != self.job.id)
            .scalar_subquery()
        )
        with self._sessions.begin() as session:
            statement = update(Job).where(self._mine, taken + need <= free).values(disk_bytes=need).returning(Job.id)
            if session.execute(statement).one_or_none() is not None:
                return 0
            missing = session.scalar(select(taken + need - free).where(exists().where(self._mine)))
        if missing is None:
            raise LeaseLost(self.job.id)
        return int(missing)

    def add_shard(self, file: str, size: int, sha256: str, key: str) -> None:
        """A shard is safe on disk. Raises LeaseLost."""
        with self._sessions.begin() as session:
            left = case((Job.disk_bytes > size, Job.disk_bytes - size), else_=0)
            held = session.execute(update(Job).where(self._mine).values(disk_bytes=left).returning(Job.id))
            if held.one_or_none() is None:
                raise LeaseLost(self.job.id)
            session.merge(JobShard(job_id=self.job.id, file=file, size=size, sha256=sha256, key=key))

    def keep_shards(self, key: str) -> Sequence[JobShard]:
        """The shards of earlier attempts that belong to this very plan; the others are forgotten."""
        with self._sessions.begin() as session:
            session.execute(delete(JobShard).where(JobShard.job_id == self.job.id, JobShard.key != key))
            return session.scalars(select(JobShard).where(JobShard.job_id == self.job.id)).all()

    def succeed(self, result: Mapping[str, Any]) -> bool:
        """The end, unless somebody asked to cancel in time: then False. Raises LeaseLost."""
        done = self._end("succeed", "Done.", Job.cancel_requested_at.is_(None), result=dict(result), eta_seconds=None)
        if not done and not self.renew():
            raise LeaseLost(self.job.id)
        return done

    def fail(self, findings: Sequence[Finding]) -> bool:
        """Ended by ``findings``. False when the job is no longer ours."""
        text = "Failed: " + " ".join(finding.text for finding in findings)
        return self._end("fail", text, error=[finding.as_dict() for finding in findings])

    def stop(self) -> bool:
        """Ended because somebody asked to cancel. False when the job is no longer ours."""
        return self._end("stop", "Cancelled.")

    def release(self) -> bool:
        """Hand the job back to the queue: this worker shuts down. The attempt does not count. False when it is
        no longer ours, or to be cancelled."""
        statement = (
            update(Job)
            .where(self._mine, Job.cancel_requested_at.is_(None))
            .values(
                state=after("release"), attempt=Job.attempt - 1, worker=None, pid=None, lease_until=None, sent_at=None,
                disk_bytes=0, rate=None, eta_seconds=None,
            )
            .returning(Job.id)
        )  # fmt: skip
        with self._sessions.begin() as session:
            released = session.execute(statement).one_or_none() is not None
            if released:
                text = "Handed back to the queue: its worker shuts down."
                session.add(JobEvent(job_id=self.job.id, at=self._clock(), kind="log", text=text, data={}))
        return released

    def _write(self, **values: Any) -> None:
        with self._sessions.begin() as session:
            if session.execute(update(Job).where(self._mine).values(values).returning(Job.id)).one_or_none() is None:
                raise LeaseLost(self.job.id)

    def _end(self, move: Move, text: str, *conditions: ColumnElement[bool], **values: Any) -> bool:
        now, state = self._clock(), after(move)
        final = {"state": state, "finished_at": now, "lease_until": None, "disk_bytes": 0, "rate": None, **values}
        with self._sessions.begin() as session:
            statement = update(Job).where(self._mine, *conditions).values(final).returning(Job.id)
            ended = session.execute(statement).one_or_none() is not None
            if ended:
                session.add(JobEvent(job_id=self.job.id, at=now, kind="done", text=text, data={"state": state}))
        return ended
