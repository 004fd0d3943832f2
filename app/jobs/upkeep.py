"""What keeps the queue honest when messages or workers get lost: the sweeper's questions, the workers' heartbeats."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, delete, or_, select, update

from app.db import Sessions
from app.jobs.claim import MAX_CRASHES
from app.jobs.models import Job, JobEvent, Worker
from app.jobs.states import ENDED, after, before
from app.jobs.store import FRESH_SECONDS, Clock
from app.recipe.findings import Finding

GIB = 1024**3


class Upkeep:
    """Idempotent, so any number of workers may do it at once."""

    def __init__(self, sessions: Sessions, clock: Clock = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    def beat(self, name: str, **about: Any) -> None:
        """This worker is alive. ``about``: the other columns of ``Worker`` but ``job_id`` and ``seen_at``."""
        with self._sessions.begin() as session:
            mine = select(Job.id).where(Job.worker == name, Job.state == "running").limit(1)
            session.merge(Worker(name=name, job_id=session.scalar(mine), seen_at=self._clock(), **about))

    def leave(self, name: str) -> None:
        """This worker is about to end; the long gone are forgotten with it."""
        gone = or_(Worker.name == name, Worker.seen_at < self._clock() - 20 * FRESH_SECONDS)
        with self._sessions.begin() as session:
            session.execute(delete(Worker).where(gone))

    def running_on(self, name: str) -> Sequence[Job]:
        """The jobs this worker's processes hold, by the rows."""
        with self._sessions() as session:
            return session.scalars(select(Job).where(Job.worker == name, Job.state == "running")).all()

    def expire(self, job: Job) -> bool:
        """The process that held it is dead: do not wait for its lease to run out. False when that was known before."""
        held = and_(Job.id == job.id, Job.epoch == job.epoch, Job.state == "running", Job.lease_until > 0)
        with self._sessions.begin() as session:
            expired = session.execute(update(Job).where(held).values(lease_until=0.0).returning(Job.id))
            return expired.one_or_none() is not None

    def due(self, patience: float) -> Sequence[Job]:
        """Jobs that wait for a worker with no message sent in the last ``patience`` seconds, oldest first: queued ones,
        and running ones whose lease has run out. A lease that ran out after the last message makes it due at once."""
        now = self._clock()
        stale = or_(Job.sent_at.is_(None), Job.sent_at < now - patience)
        dead = and_(Job.state == before("take_over"), Job.lease_until < now)
        unheard = or_(stale, Job.sent_at < Job.lease_until)
        query = select(Job).where(or_(and_(Job.state == before("claim"), stale), and_(dead, unheard)))
        with self._sessions() as session:
            return session.scalars(query.order_by(Job.created_at).limit(1000)).all()

    def settle(self, available: int) -> Sequence[Job]:
        """End the jobs whose worker died and that no other may take over: those to be cancelled, and those that died
        too often. ``available``: main memory of this machine in bytes, for the hint. Returns the ended ones."""
        now = self._clock()
        dead = and_(Job.state == before("take_over"), Job.lease_until < now)
        ended = []
        with self._sessions() as session:
            rows = session.scalars(
                select(Job).where(dead, or_(Job.cancel_requested_at.is_not(None), Job.crashes + 1 >= MAX_CRASHES))
            ).all()
        for job in rows:
            if job.cancel_requested_at is not None:
                values: Mapping[str, Any] = {"state": after("stop")}
                text = "Cancelled."
            else:
                finding = worker_died(job, available)
                values = {"state": after("fail"), "error": [finding.as_dict()], "crashes": Job.crashes + 1}
                text = f"Failed: {finding.text}"
            if self._end(job, values, text):
                ended.append(job)
        return ended

    def _end(self, job: Job, values: Mapping[str, Any], text: str) -> bool:
        now = self._clock()
        same = and_(Job.id == job.id, Job.epoch == job.epoch, Job.state == "running", Job.lease_until < now)
        final = {"finished_at": now, "lease_until": None, "disk_bytes": 0, "rate": None, "eta_seconds": None, **values}
        with self._sessions.begin() as session:
            if session.execute(update(Job).where(same).values(final).returning(Job.id)).one_or_none() is None:
                return False
            data = {"state": values["state"]}
            session.add(JobEvent(job_id=job.id, at=now, kind="done", text=text, data=data))
            return True

    def unwanted(self, ids: Collection[str], kept_until: float) -> frozenset[str]:
        """Those of ``ids`` whose job came to nothing: cancelled, or failed before ``kept_until`` (Unix seconds), too
        long ago for a retry. Ids without a row are not among them: this may be the wrong database."""
        lost = or_(Job.state == "cancelled", and_(Job.state == "failed", Job.finished_at < kept_until))
        with self._sessions() as session:
            return frozenset(session.scalars(select(Job.id).where(Job.id.in_(ids), lost)))

    def spent_tokens(self) -> Sequence[str]:
        """Ids of the vault's tokens whose jobs have ended."""
        query = select(Job.token_id).where(Job.token_id.is_not(None), Job.state.in_(ENDED)).distinct()
        with self._sessions() as session:
            return [token for token in session.scalars(query) if token is not None]

    def drop_token(self, token_id: str) -> None:
        with self._sessions.begin() as session:
            session.execute(update(Job).where(Job.token_id == token_id).values(token_id=None))


def worker_died(job: Job, available: int) -> Finding:
    """Why a job was given up after its worker died again and again."""
    stage = f" while {job.stage}" if job.stage else ""
    text = f"The worker died {MAX_CRASHES} times{stage}, most likely because it ran out of memory"
    if job.memory_bytes:
        text += f": the merge needs about {job.memory_bytes / GIB:.1f} GiB, this machine has {available / GIB:.1f} GiB"
    fix = "Close other programs or use a machine with more memory, then try again; finished shards are kept."
    return Finding("error", "worker-died", "", text + ".", fix)
