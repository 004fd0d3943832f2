"""A job as the API tells it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from app.jobs.models import Job
from app.storage.base import ArtifactFile, Artifacts
from app.web.rendering import moment


def artifact_files(job: Job, artifacts: Artifacts) -> tuple[ArtifactFile, ...] | None:
    """The files of a job's checkpoint; None when there is none (yet, or any more)."""
    manifest = artifacts.manifest(job.id) if job.makes_files and job.state == "succeeded" else None
    return manifest.files if manifest else None


def file_url(job_id: str, name: str) -> str:
    return f"/api/jobs/{job_id}/files/{quote(name)}"


def job_json(job: Job, artifacts: Artifacts) -> dict[str, Any]:
    """A job in JSON's types, never with its token. ``error`` holds findings, ``artifact`` the finished checkpoint."""
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
        "artifact": _artifact(job, artifacts),
        "result": job.result,
        "source_job": job.source_job,
        "seed": job.seed,
        "recipe": job.recipe,
        "parents": job.parents,
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at) or None,
        "finished_at": moment(job.finished_at) or None,
        "url": f"/jobs/{job.id}",
    }


def _artifact(job: Job, artifacts: Artifacts) -> dict[str, Any] | None:
    files = artifact_files(job, artifacts)
    if files is None:
        return None
    return {
        "files": [
            {"name": file.name, "size": file.size, "sha256": file.sha256, "url": file_url(job.id, file.name)}
            for file in files
        ]
    }
