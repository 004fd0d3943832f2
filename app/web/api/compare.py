"""``/api/compare``: compare the weights of models, and take the numbers away."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from app.comparing.comparison import read_subject
from app.comparing.measures import subjects
from app.comparing.report import as_report
from app.comparing.tables import as_csv
from app.comparing.wanted import TOP, read_wanted
from app.web.api.jobs import IdempotencyKey
from app.web.comparing import ComparisonDep, ComparisonJob, finished, submit_comparison, suggestions
from app.web.dependencies import ArtifactsDep, ServicesDep
from app.web.job_view import job_json
from app.web.pages.comparison_view import about
from app.web.pages.pictures.heatmap import draw
from app.web.pages.pictures.heatmap_svg import as_svg

router = APIRouter(prefix="/api/compare", tags=["compare"])

Reference = Annotated[str, Field(max_length=600)]
Word = Annotated[str, Query(max_length=40)]


class NewComparison(BaseModel, extra="forbid"):
    """What to compare."""

    models: list[Reference] = Field(description="Two models or more, or one with a base.", max_length=20)
    base: Reference | None = Field(None, description="What the models were made from: changes are taken from it.")
    mode: Literal["sample", "full"] = Field("sample", description="Some rows of each tensor, or every weight.")
    top: float = Field(TOP, description="The share of the largest changes whose overlap is measured.")
    recipe: str = Field("", description="Mergekit YAML that suggestions are made for.")


@router.post("", status_code=202)
def create(
    body: NewComparison, services: ServicesDep, response: Response, idempotency_key: IdempotencyKey = None
) -> dict[str, str]:
    """Check the models and queue their comparison. 422 with findings when they cannot be compared."""
    wanted = read_wanted(body.models, body.base, full=body.mode == "full", top=body.top)
    job = submit_comparison(services, wanted, recipe=body.recipe, key=idempotency_key)
    response.headers["Location"] = f"/api/compare/{job.id}"
    return {"id": job.id, "url": f"/compare/{job.id}"}


@router.get("/{job_id}")
def show(job: ComparisonJob, services: ServicesDep, artifacts: ArtifactsDep) -> dict[str, Any]:
    """The job, and under ``comparison`` every measure over everything and cell by cell, once it has succeeded. Shares,
    not percents."""
    found = finished(services, job)
    told = {**job_json(job, artifacts), "url": f"/compare/{job.id}"}
    return {**told, "comparison": as_report(found, suggestions(job, found)) if found else None}


@router.get("/{job_id}/tensors.csv")
def tensors_csv(job: ComparisonJob, comparison: ComparisonDep) -> StreamingResponse:
    """Every number of every tensor."""
    headers = {"Content-Disposition": f'attachment; filename="comparison-{job.id[:8]}.csv"'}
    return StreamingResponse(as_csv(comparison), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/{job_id}/map.svg")
def map_svg(job: ComparisonJob, comparison: ComparisonDep, measure: Word = "", of: Word = "") -> Response:
    """A heat map as a picture. ``measure``: its name, the first one unless told; ``of``: ``all``, ``A`` or ``A-B``."""
    chosen = next((one for one in comparison.measures if one.name == measure), comparison.measures[0])
    subject = read_subject(of, subjects(chosen, len(comparison.models)))
    picture = as_svg(draw(comparison, chosen, subject), job.title, about(comparison, chosen, subject))
    headers = {"Content-Disposition": f'attachment; filename="{chosen.name}-{job.id[:8]}.svg"'}
    return Response(picture, media_type="image/svg+xml", headers=headers)
