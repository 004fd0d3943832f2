"""The tasks. Each takes a job id and nothing else; the row in the database says what is to be done.

What a job needs is imported in its own process: the parent, which only listens, stays small.
"""

from __future__ import annotations

from typing import Any

from worker.celery_app import celery, settings


@celery.task(name="merge", bind=True)
def merge(self: Any, job_id: str) -> None:
    _run(self, job_id)


@celery.task(name="upload", bind=True)
def upload(self: Any, job_id: str) -> None:
    _run(self, job_id)


@celery.task(name="compare", bind=True)
def compare(self: Any, job_id: str) -> None:
    _run(self, job_id)


@celery.task(name="merge-adapters", bind=True)
def merge_adapters(self: Any, job_id: str) -> None:
    _run(self, job_id)


@celery.task(name="extract-lora", bind=True)
def extract_lora(self: Any, job_id: str) -> None:
    _run(self, job_id)


@celery.task(name="mixture", bind=True)
def mixture(self: Any, job_id: str) -> None:
    _run(self, job_id)


def _run(task: Any, job_id: str) -> None:
    from worker.run import Workplace, run_job

    run_job(str(job_id), task.request.hostname, Workplace(settings))
