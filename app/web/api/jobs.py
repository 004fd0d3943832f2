"""``/api/jobs``: hand in, look up, cancel, upload."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field, SecretStr

from app.jobs.models import Job
from app.jobs.states import State
from app.recipe.findings import Finding
from app.web.dependencies import ArtifactsDep, JobDep, JobsDep, ServicesDep
from app.web.errors import Failed
from app.web.job_view import job_json
from app.web.submitting import MAX_SEED, submit
from app.web.uploading import submit_upload

router = APIRouter(prefix="/api/jobs", tags=["jobs"])

IdempotencyKey = Annotated[
    str | None, Header(description="A word of your own: sent twice, it still makes one job.", max_length=1000)
]


class NewMerge(BaseModel, extra="forbid"):
    """What to merge."""

    recipe: str = Field(description="A recipe: mergekit YAML.")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="For random methods. Unset: the recipe's, else 0.")
    stream: bool = Field(False, description="Read Hub models in parts and store nothing of their weights.")


class NewUpload(BaseModel, extra="forbid"):
    """Where a finished checkpoint goes."""

    repo: str = Field(description="`owner/name`; made when it is not there.", max_length=200)
    token: SecretStr = Field(description="A Hub token with write access, used for this upload alone.")
    private: bool = True


@router.post("", status_code=202)
def create(
    body: NewMerge, services: ServicesDep, response: Response, idempotency_key: IdempotencyKey = None
) -> dict[str, str]:
    """Check a recipe and queue its merge. 422 with findings when the check has errors."""
    return accepted(submit(services, body.recipe, seed=body.seed, stream=body.stream, key=idempotency_key), response)


@router.get("")
def list_jobs(
    jobs: JobsDep,
    artifacts: ArtifactsDep,
    state: Annotated[list[State] | None, Query(description="Only jobs in these states.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> dict[str, Any]:
    """Jobs, the newest first."""
    states = state or []
    found = jobs.list(states=states, limit=limit, offset=offset)
    return {"jobs": [job_json(job, artifacts) for job in found], "total": jobs.count(states=states)}


@router.get("/{job_id}")
def show(job: JobDep, artifacts: ArtifactsDep) -> dict[str, Any]:
    """A job: its state, how far it is, why it failed, and the files of its checkpoint once it has succeeded."""
    return job_json(job, artifacts)


@router.post("/{job_id}/cancel")
def cancel(job: JobDep, jobs: JobsDep, artifacts: ArtifactsDep) -> dict[str, Any]:
    """Ask a job to stop: a waiting one is cancelled at once, a running one within seconds. 409 when it has ended."""
    stopped = jobs.request_cancel(job.id) or jobs.get(job.id)
    if stopped is None or (stopped.ended and stopped.state != "cancelled"):
        text = "This job has already ended."
        raise Failed(409, Finding("error", "already-ended", "", text, "There is nothing left to cancel."))
    return job_json(stopped, artifacts)


@router.post("/{job_id}/upload", status_code=202)
def upload(
    job: JobDep,
    body: NewUpload,
    services: ServicesDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, str]:
    """Queue the upload of a finished checkpoint to the Hub; a job of its own."""
    token = body.token.get_secret_value()
    made = submit_upload(services, job, repo=body.repo, token=token, private=body.private, key=idempotency_key)
    return accepted(made, response)


def accepted(job: Job, response: Response) -> dict[str, str]:
    """The answer to something handed in: where its job is."""
    response.headers["Location"] = f"/api/jobs/{job.id}"
    return {"id": job.id, "url": f"/jobs/{job.id}"}
