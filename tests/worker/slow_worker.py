"""The workers' Celery application, with faults: ``celery --app tests.worker.slow_worker worker``."""

from __future__ import annotations

from worker.celery_app import celery

celery.conf.include = [*celery.conf.include, "tests.worker.faults"]

__all__ = ["celery"]
