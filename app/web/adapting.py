"""Handing in adapters to be made: one way for the page and the API."""

from __future__ import annotations

from typing import Any

from app.adapting.outline import Outline
from app.adapting.wanted import WantedExtract, WantedMerge
from app.jobs.models import Job
from app.jobs.store import NewJob
from app.preadapt import preextract, premerge
from app.web.services import Services
from app.web.submitting import check_key, enqueue


def submit_merge(services: Services, wanted: WantedMerge, *, key: str | None = None) -> Job:
    """Queue the merge of adapters, pinned to the commits they stand for now. The same ``key`` gives the first job
    again. Raises Refused with everything that stands in the way."""
    check_key(key)
    pinned = premerge(wanted, services.library).wanted
    names = _listed([one.short for one in pinned.adapters])
    parents = list(dict.fromkeys(map(str, pinned.adapters)))
    return enqueue(
        services, _new("merge-adapters", f"{names} by {pinned.how.method}", parents, pinned.as_params(), key)
    )


def submit_extract(services: Services, wanted: WantedExtract, *, key: str | None = None) -> Job:
    """Queue the extraction of an adapter, likewise."""
    check_key(key)
    pinned = preextract(wanted, services.library).wanted
    title = f"LoRA of {pinned.tuned.short} on {pinned.base.short}"
    parents = [str(pinned.tuned), str(pinned.base)]
    return enqueue(services, _new("extract-lora", title, parents, pinned.as_params(), key))


def outline_json(made: Outline) -> dict[str, Any]:
    """What the result will be and cost."""
    return {
        "modules": len(made.ranks),
        "ranks": [min(made.ranks.values(), default=0), max(made.ranks.values(), default=0)],
        "output_bytes": made.output_bytes,
        "download_bytes": made.download_bytes,
        "memory_bytes": made.memory_bytes,
    }


def _new(kind: str, title: str, parents: list[str], params: dict[str, Any], key: str | None) -> NewJob:
    return NewJob(kind, title=title[:200], seed=params["seed"], parents=parents, params=params, idempotency_key=key)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
