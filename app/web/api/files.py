"""``/api/jobs/{id}/files/{name}``: the files of a finished checkpoint."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from app.web.dependencies import ArtifactsDep, JobDep
from app.web.downloads import download
from app.web.errors import not_found

router = APIRouter(prefix="/api/jobs", tags=["files"])

Name = Annotated[str, Path(description="A name of the job's list of files.")]

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {}}},
    206: {"description": "The part asked for by Range."},
    304: {"description": "Unchanged, by If-None-Match."},
    416: {"description": "The Range lies outside of the file."},
}


@router.get("/{job_id}/files/{name:path}", response_class=Response, responses=_ANSWERS)
def file(request: Request, job: JobDep, name: Name, artifacts: ArtifactsDep) -> Response:
    """A file, whole or in part. Its ETag is its SHA-256; an interrupted download goes on with Range and If-Range."""
    manifest = artifacts.manifest(job.id)
    found = manifest.file(name) if manifest else None
    if found is None:
        raise not_found("There is no such file in this job's checkpoint.", name)
    opener = partial(artifacts.open, job.id, found.name)
    return download(request, opener, name=found.name, size=found.size, sha256=found.sha256)


router.add_api_route("/{job_id}/files/{name:path}", file, methods=["HEAD"], include_in_schema=False)
