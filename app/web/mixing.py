"""Mixtures of experts: what headers tell of one, and handing it in; one way for the page and the API."""

from __future__ import annotations

from typing import Any

from app.experts.remarks import active_parameters
from app.experts.wanted import WantedMixture, write_mixture
from app.jobs.models import Job
from app.jobs.store import NewJob
from app.premix import Premix, premix
from app.recipe.findings import Refused
from app.web.checking import beyond_this_server
from app.web.services import Services
from app.web.submitting import check_key, enqueue


def look_at(wanted: WantedMixture, services: Services) -> Premix:
    """Read the models' headers and check. Raises Refused with everything that stands in the way. Slow when they are on
    the Hub: call it in a thread."""
    known = premix(wanted, services.library, rates=services.jobs.rates())
    if beyond := beyond_this_server(known.estimate, services.library, services.settings):
        raise Refused(beyond)
    return known


def submit_mixture(services: Services, wanted: WantedMixture, *, stream: bool = False, key: str | None = None) -> Job:
    """Queue the making of a mixture. The same ``key`` gives the first job again. ``stream``: models on the Hub are read
    in parts and not stored. Raises Refused with everything that stands in the way."""
    check_key(key)
    known = look_at(wanted, services)
    new = NewJob(
        "mixture",
        recipe=write_mixture(wanted),
        title=mixture_title(wanted),
        seed=wanted.seed,
        pinned=write_mixture(known.wanted),
        parents=[str(one) for one in known.wanted.parents()],
        params={"stream": True} if stream else {},
        idempotency_key=key,
    )
    return enqueue(services, new)


def mixture_title(wanted: WantedMixture) -> str:
    return f"Mixture of {len(wanted.experts)} on {wanted.base.short}"[:200]


def sizes(known: Premix) -> tuple[int, int]:
    """How many parameters the mixture has, and how many of them a token passes."""
    whole = known.plan.parameters
    return whole, active_parameters(known.wanted, known.dense, whole)


def mixture_json(known: Premix) -> dict[str, Any]:
    """What the result will be. Sizes are numbers of parameters."""
    whole, active = sizes(known)
    return {"architecture": known.target.model_type, "parameters": whole, "active_parameters": active}
