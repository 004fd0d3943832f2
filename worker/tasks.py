"""The tasks. Each takes a job id and nothing else; the row in the database says what is to be done."""

from __future__ import annotations

from functools import cache
from typing import Any

from worker.celery_app import celery, settings
from worker.run import Workplace, run_job


@cache
def place() -> Workplace:
    """This process's connections, opened when its first job comes."""
    return Workplace(settings)


@celery.task(name="merge", bind=True)
def merge(self: Any, job_id: str) -> None:
    run_job(str(job_id), self.request.hostname, place())


@celery.task(name="upload", bind=True)
def upload(self: Any, job_id: str) -> None:
    run_job(str(job_id), self.request.hostname, place())
