"""Handing in a merge: one way for the page's button and the API."""

from __future__ import annotations

import re
from typing import Any

from app.jobs.models import Job
from app.jobs.store import NewJob
from app.planning.pinning import pin
from app.planning.plan import Plan
from app.preflight import Preflight
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.identity import recipe_hash
from app.recipe.naming import title_of
from app.web.checking import check
from app.web.errors import Failed
from app.web.services import Services

MAX_SEED = 2**63 - 1
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


def submit(
    services: Services, text: str, *, seed: int | None = None, stream: bool = False, key: str | None = None
) -> Job:
    """Queue the merge of a recipe. The same ``key`` gives the first job again.

    ``seed`` None leaves it to the recipe; ``stream``: parents on the Hub are read in parts and not stored. Raises
    Refused with every finding when the check has errors, Failed (409) when the key was used for something else.
    """
    check_key(key)
    checked = check(text, services.library, services.settings, seed=seed)
    if checked.plan is None or not checked.ok:
        raise Refused(checked.findings)
    return enqueue(services, _new_job(text, checked, checked.plan, {"stream": True} if stream else {}, key))


def enqueue(services: Services, new: NewJob) -> Job:
    """Write the job down, then ring for a worker. Raises Failed (409) when its key belongs to another job."""
    job, is_new = services.jobs.submit(new)
    if is_new:
        services.queue.send(job.id, job.kind)
    elif (job.kind, job.recipe, job.seed, job.params) != (new.kind, new.recipe, new.seed, new.params):
        text = "This Idempotency-Key was used for something else."
        raise Failed(409, Finding("error", "key-reused", "Idempotency-Key", text, "Use a new key for each new job."))
    return job


def check_key(key: str | None) -> None:
    """Raises Refused for a key that cannot be one."""
    if key is not None and not _KEY.fullmatch(key):
        text = "An Idempotency-Key has 1 to 200 printable ASCII characters and no spaces."
        raise refuse("bad-key", "Idempotency-Key", text, "A random UUID serves well.")


def _new_job(text: str, checked: Preflight, plan: Plan, params: dict[str, Any], key: str | None) -> NewJob:
    parents = pin(plan.recipe, checked.facts, None).parents()
    return NewJob(
        kind="merge",
        recipe=text,
        title=title_of(plan.recipe),
        seed=plan.seed,
        recipe_hash=recipe_hash(plan.recipe),
        pinned=plan.recipe_text,
        parents=[str(parent) for parent in parents],
        params=params,
        idempotency_key=key,
    )
