"""Comparisons as jobs, made without a worker."""

from __future__ import annotations

from app.comparing.comparison import Comparison
from app.comparing.wanted import read_wanted
from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.recipe.findings import Finding
from app.settings import Settings
from app.storage.comparisons import Comparisons


def waiting_comparison(database: Sessions, recipe: str = "") -> Job:
    params = read_wanted(["a/A", "a/B"], "a/base").as_params()
    job, _ = Store(database).submit(NewJob("compare", recipe, "A and B against base", params=params))
    return job


def finished_comparison(database: Sessions, settings: Settings, told: Comparison, recipe: str = "") -> Job:
    """A succeeded comparison with these numbers."""
    job = waiting_comparison(database, recipe)
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=600)
    assert claim is not None
    Comparisons(settings.comparisons).put(job.id, told)
    assert claim.succeed({"tensors": len(told.tensors)})
    done = Store(database).get(job.id)
    assert done is not None
    return done


def failed_comparison(database: Sessions, finding: Finding) -> Job:
    job = waiting_comparison(database)
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=600)
    assert claim is not None
    assert claim.fail([finding])
    failed = Store(database).get(job.id)
    assert failed is not None
    return failed
