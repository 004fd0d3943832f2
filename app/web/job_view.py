"""A job as the API tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.jobs.models import Job
from app.web.rendering import moment


def job_json(job: Job, files: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
    """A job in JSON's types, never with its token. ``files``: those of its artifact, None while there is none."""
    return {
        "id": job.id,
        "kind": job.kind,
        "title": job.title,
        "state": job.state,
        "stage": job.stage,
        "cancel_requested": job.cancel_requested_at is not None,
        "progress": {
            "tensors_done": job.tensors_done,
            "tensors_total": job.tensors_total,
            "bytes_done": job.bytes_done,
            "bytes_total": job.bytes_total,
            "eta_seconds": job.eta_seconds,
        },
        "error": job.error,
        "artifact": None if files is None else {"files": list(files)},
        "result": job.result,
        "source_job": job.source_job,
        "seed": job.seed,
        "recipe": job.recipe,
        "parents": job.parents,
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at) or None,
        "finished_at": moment(job.finished_at) or None,
        "url": f"/api/jobs/{job.id}",
    }
