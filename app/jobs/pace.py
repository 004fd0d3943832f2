"""How fast this server merges and fetches: kept with the results of finished merges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import select

from app.db import Sessions
from app.jobs.models import Job
from app.jobs.states import after
from app.planning.rates import LAST, Rates, Took, rates

KEY = "took"
"""Where a merge's ``Job.result`` holds what it took."""
_LOOKED_AT = 5 * LAST
"""Merges looked at: not each tells of everything."""


def told(took: Took | None) -> Mapping[str, Any]:
    """For a job's result."""
    return {} if took is None else {KEY: asdict(took)}


def measured_rates(sessions: Sessions) -> Rates:
    """From the last merges that succeeded."""
    query = (
        select(Job.result)
        .where(Job.kind == "merge", Job.state == after("succeed"))
        .order_by(Job.created_at.desc())
        .limit(_LOOKED_AT)
    )
    with sessions() as session:
        results = session.scalars(query).all()
    return rates([took for result in results if (took := _read(result)) is not None])


def _read(result: Mapping[str, Any] | None) -> Took | None:
    """None for results without, as jobs of older versions have them."""
    kept = (result or {}).get(KEY)
    if not isinstance(kept, dict):
        return None
    try:
        return Took(**{one.name: kept[one.name] for one in fields(Took)})
    except KeyError:
        return None
