"""Handing in the upload of a finished job's files to the Hub."""

from __future__ import annotations

import re

from app.jobs.models import Job
from app.jobs.states import ACTIVE
from app.jobs.store import NewJob
from app.recipe.findings import Finding, refuse
from app.recipe.references import is_hub_id
from app.web.errors import Failed
from app.web.services import Services
from app.web.submitting import check_key, enqueue

_TOKEN = re.compile(r"[\x21-\x7e]{8,500}")


def submit_upload(
    services: Services, source: Job, *, repo: str, token: str, private: bool = True, key: str | None = None
) -> Job:
    """Queue the upload of a job's files to the repository ``owner/name``.

    The token goes into the vault and nowhere else. Raises Refused for a bad name or token, Failed (409) when there is
    nothing to upload or the same upload is under way.
    """
    check_key(key)
    repo, token = repo.strip(), token.strip()
    if not is_hub_id(repo):
        raise refuse("bad-repository", "repo", "This is not a repository of the Hub.", "Write owner/name.")
    if not _TOKEN.fullmatch(token):
        text = "This is not a Hub token."
        raise refuse("bad-token", "token", text, "Make one with write access in your Hub settings, and paste it whole.")
    if not source.makes_files or source.state != "succeeded" or services.artifacts.manifest(source.id) is None:
        text = "There is no finished checkpoint to upload."
        raise Failed(409, Finding("error", "nothing-to-upload", "", text, "Wait until the merge has succeeded."))
    if key is None and _under_way(services, source, repo):
        text = f"An upload of this checkpoint to {repo} is under way."
        raise Failed(409, Finding("error", "upload-under-way", "repo", text, "Wait for it, or cancel it first."))
    token_id = services.vault.put(token)
    new = NewJob(
        kind="upload",
        title=repo,
        params={"repo": repo, "private": private},
        source_job=source.id,
        token_id=token_id,
        idempotency_key=key,
    )
    try:
        job = enqueue(services, new)
    except Failed:
        services.vault.forget(token_id)
        raise
    if job.token_id != token_id:
        services.vault.forget(token_id)
    return job


def _under_way(services: Services, source: Job, repo: str) -> bool:
    uploads = services.jobs.list(states=ACTIVE, kind="upload", source_job=source.id)
    return any(job.params.get("repo") == repo for job in uploads)
