"""Handing in a comparison of weights, and what is known of one: one way for the page and the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from app.comparing.comparison import Comparison
from app.comparing.suggestions import Suggestion, suggest
from app.comparing.wanted import Wanted
from app.jobs.models import Job
from app.jobs.store import NewJob
from app.precompare import precompare
from app.recipe.reading import read_recipe
from app.storage.comparisons import Comparisons
from app.web.dependencies import JobDep, ServicesDep
from app.web.errors import not_found
from app.web.services import Services
from app.web.submitting import check_key, enqueue


def submit_comparison(services: Services, wanted: Wanted, *, recipe: str = "", key: str | None = None) -> Job:
    """Queue a comparison, its models pinned to the commits they stand for now. ``recipe``: the YAML that suggestions
    are made for. The same ``key`` gives the first job again. Raises Refused with everything that stands in the way."""
    check_key(key)
    pinned = precompare(wanted, services.library).wanted
    parents = [str(one) for one in pinned.everyone]
    params = pinned.as_params()
    new = NewJob("compare", recipe, title(wanted), parents=parents, params=params, idempotency_key=key)
    return enqueue(services, new)


def title(wanted: Wanted) -> str:
    """``python and scripture against base``."""
    names = [one.short for one in wanted.models]
    listed = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
    return (listed if wanted.base is None else f"{listed} against {wanted.base.short}")[:200]


def finished(services: Services, job: Job) -> Comparison | None:
    """What a job found out; None while it is under way, or when it came to nothing."""
    return Comparisons(services.settings.comparisons).get(job.id) if job.state == "succeeded" else None


def suggestions(job: Job, comparison: Comparison) -> tuple[Suggestion, ...]:
    """For the recipe that the job was handed in with, if there was one that can be read."""
    return suggest(comparison, read_recipe(job.recipe).recipe if job.recipe else None)


def _comparison_job(job: JobDep) -> Job:
    if job.kind != "compare":
        raise not_found("There is no such comparison.")
    return job


ComparisonJob = Annotated[Job, Depends(_comparison_job)]
"""The comparison named by ``{job_id}`` in the address; 404 when there is none."""


def _done(job: ComparisonJob, services: ServicesDep) -> Comparison:
    found = finished(services, job)
    if found is None:
        raise not_found("This comparison has no numbers yet.")
    return found


ComparisonDep = Annotated[Comparison, Depends(_done)]
"""What it found out; 404 while there is nothing."""
