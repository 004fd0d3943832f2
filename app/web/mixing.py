"""Mixtures of experts: what headers tell of one, and handing it in; one way for the page and the API."""

from __future__ import annotations

from typing import Any

from app.experts.remarks import active_parameters
from app.experts.wanted import WantedMixture, write_mixture
from app.jobs.models import Job
from app.jobs.store import NewJob
from app.premix import Premix, premix
from app.recipe.findings import Refused, refuse
from app.recipe.safe_yaml import MAX_BYTES
from app.web.checking import beyond_this_server
from app.web.services import Services
from app.web.submitting import check_key, enqueue

MOST_BYTES = MAX_BYTES - 8 * 1024
"""Of a mixture's recipe that is handed in: the commits that its job adds to every model have room in the largest."""


def look_at(wanted: WantedMixture, services: Services) -> Premix:
    """Read the models' headers and check. Raises Refused with everything that stands in the way. Slow when they are on
    the Hub: call it in a thread."""
    size = len(write_mixture(wanted).encode())
    if size > MOST_BYTES:
        text = f"With its prompts the recipe has {size // 1024} KB; {MOST_BYTES // 1024} KB are the most."
        raise refuse("too-many-prompts", "experts", text, "Keep the most telling prompts, or shorten them.")
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
