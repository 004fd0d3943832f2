"""Jobs as the pages see them: hand in, look up, cancel, try again. Each change is one statement on the row."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, case, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.db import Sessions
from app.jobs.models import LINES, MAKE_FILES, Job, JobEvent, JobShard, Worker
from app.jobs.pace import measured_rates
from app.jobs.states import after, before
from app.planning.rates import Rates

Clock = Callable[[], float]
"""Unix seconds. All hosts that share a database must agree on the time to within a few seconds."""

RETRIED = (*MAKE_FILES, "compare")
"""Kinds of jobs that may be tried again: an upload's token is gone by then."""
FRESH_SECONDS = 45.0
"""A worker that has not been seen for longer counts as gone."""


@dataclass(frozen=True)
class NewJob:
    """What is handed in. See ``Job`` for the meaning of each field."""

    kind: str
    recipe: str = ""
    title: str = ""
    seed: int = 0
    recipe_hash: str | None = None
    pinned: str | None = None
    parents: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    source_job: str | None = None
    token_id: str | None = None
    idempotency_key: str | None = None


def new_job_id() -> str:
    return secrets.token_hex(16)


class Store:
    """Everything but a runner's own writes (``claim.Claim``) and the upkeep (``upkeep.Upkeep``)."""

    def __init__(self, sessions: Sessions, clock: Clock = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    def submit(self, new: NewJob) -> tuple[Job, bool]:
        """The queued job, and whether it is new: the same ``idempotency_key`` gives the first job again."""
        now = self._clock()
        job = Job(id=new_job_id(), state="queued", created_at=now, **vars(new))
        try:
            with self._sessions.begin() as session:
                session.add(job)
                session.flush()
                session.add(JobEvent(job_id=job.id, at=now, kind="log", text="Handed in.", data={}))
        except IntegrityError:
            first = self._by_key(new.idempotency_key)
            if first is None:
                raise
            return first, False
        return job, True

    def _by_key(self, key: str | None) -> Job | None:
        if key is None:
            return None
        with self._sessions() as session:
            return session.scalars(select(Job).where(Job.idempotency_key == key)).one_or_none()

    def get(self, job_id: str) -> Job | None:
        with self._sessions() as session:
            return session.get(Job, job_id)

    def list(
        self,
        *,
        states: Sequence[str] = (),
        kind: str | None = None,
        source_job: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[Job]:
        """Newest first. No ``states`` means all."""
        query = select(Job).order_by(Job.created_at.desc(), Job.id).limit(limit).offset(offset)
        if states:
            query = query.where(Job.state.in_(states))
        if kind:
            query = query.where(Job.kind == kind)
        if source_job:
            query = query.where(Job.source_job == source_job)
        with self._sessions() as session:
            return session.scalars(query).all()

    def count(self, *, states: Sequence[str] = (), kind: str | None = None) -> int:
        query = select(func.count()).select_from(Job)
        if states:
            query = query.where(Job.state.in_(states))
        if kind:
            query = query.where(Job.kind == kind)
        with self._sessions() as session:
            return session.scalar(query) or 0

    def position(self, job: Job) -> int:
        """Place in the queue: 1 is the next to start. 0 when it is not waiting."""
        if job.state != "queued":
            return 0
        earlier = or_(Job.created_at < job.created_at, and_(Job.created_at == job.created_at, Job.id < job.id))
        beside = next((kinds for kinds in LINES.values() if job.kind in kinds), (job.kind,))
        query = select(func.count()).select_from(Job).where(Job.state == "queued", Job.kind.in_(beside), earlier)
        with self._sessions() as session:
            return 1 + (session.scalar(query) or 0)

    def shards(self, job_id: str) -> Sequence[JobShard]:
        """The files of weights that are safe on disk, by name."""
        with self._sessions() as session:
            return session.scalars(select(JobShard).where(JobShard.job_id == job_id).order_by(JobShard.file)).all()

    def events(self, job_id: str, after_id: int = 0, limit: int = 1000) -> Sequence[JobEvent]:
        """The lines of its history after the one with ``after_id``, oldest first."""
        query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.id > after_id).order_by(JobEvent.id)
        with self._sessions() as session:
            return session.scalars(query.limit(limit)).all()

    def request_cancel(self, job_id: str) -> Job | None:
        """Cancelled at once while it waits; a running job's worker is asked to stop. None when it has ended."""
        now = self._clock()
        waits = Job.state == before("withdraw")
        statement = (
            update(Job)
            .where(Job.id == job_id, Job.state.in_((before("withdraw"), before("stop"))))
            .values(
                cancel_requested_at=func.coalesce(Job.cancel_requested_at, now),
                state=case((waits, after("withdraw")), else_=Job.state),
                finished_at=case((waits, now), else_=None),
            )
            .returning(Job)
        )
        with self._sessions.begin() as session:
            job = session.scalars(statement).one_or_none()
            if job is not None:
                kind, text = ("done", "Cancelled.") if job.ended else ("log", "Asked to stop.")
                data = {"state": job.state} if job.ended else {}
                session.execute(insert(JobEvent).values(job_id=job_id, at=now, kind=kind, text=text, data=data))
        return job

    def retry(self, job_id: str) -> Job | None:
        """Queue a failed job again; a merge goes on after its finished shards. None when it cannot be tried again."""
        now = self._clock()
        statement = (
            update(Job)
            .where(Job.id == job_id, Job.state == before("retry"), Job.kind.in_(RETRIED))
            .values(
                state=after("retry"), stage=None, error=None, crashes=0, finished_at=None, sent_at=None,
                lease_until=None, cancel_requested_at=None, rate=None, eta_seconds=None,
            )
            .returning(Job)
        )  # fmt: skip
        with self._sessions.begin() as session:
            job = session.scalars(statement).one_or_none()
            if job is not None:
                again = insert(JobEvent).values(job_id=job_id, at=now, kind="log", text="Queued again.", data={})
                session.execute(again)
        return job

    def mark_sent(self, job_id: str) -> None:
        """Remember that a message for it is on its way."""
        with self._sessions.begin() as session:
            session.execute(update(Job).where(Job.id == job_id).values(sent_at=self._clock()))

    def rates(self) -> Rates:
        """How fast this server merges and fetches, by what its last merges took."""
        return measured_rates(self._sessions)

    def workers(self) -> Sequence[Worker]:
        """The workers seen of late, by name."""
        query = select(Worker).where(Worker.seen_at > self._clock() - FRESH_SECONDS).order_by(Worker.name)
        with self._sessions() as session:
            return session.scalars(query).all()
