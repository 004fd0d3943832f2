"""``weightloom check``: what is wrong with a recipe, and what its merge would cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from app.experts.wanted import is_mixture, read_mixture
from app.kinship import how_far_apart
from app.library.facts import Library
from app.planning.estimate import Estimate
from app.planning.rates import GUESSED, Rates, roughly
from app.preflight import Preflight, preflight
from app.premix import premix
from app.recipe.findings import Finding, Refused
from app.settings import Settings
from worker.recipe_file import made_by_moe
from worker.sizes import gigabytes

PATIENCE = 3.0
"""Seconds to wait for how far apart the parents are."""
COMPILING_BYTES = 330_000_000
"""What a process held at most that compiled kernels, as measured."""


def check_recipe(text: str, library: Library, settings: Settings, *, seed: int | None, token: str | None) -> Preflight:
    """Never raises for what people can get wrong."""
    if is_mixture(text):
        return _check_mixture(text, library, settings, token)
    looked = preflight(text, library, seed=seed, token=token, folded=True, rates=_rates(settings))
    if looked.recipe is None or looked.plan is None:
        return looked
    apart, _ = how_far_apart(looked.recipe, looked.facts, library, patience=PATIENCE, token=token)
    return _with_compiling(replace(looked, findings=(*looked.findings, *apart)))


def _with_compiling(looked: Preflight) -> Preflight:
    """What a merge takes before which nobody has warmed up."""
    try:
        from worker.engine.kernels.native import all_kept
    except ImportError:  # without Numba nothing is compiled
        return looked
    if looked.estimate is None or all_kept():
        return looked
    text = (
        f"Kernels are compiled on their first use, which takes some seconds and up to {gigabytes(COMPILING_BYTES)} of"
        " memory once."
    )
    finding = Finding("info", "kernels-not-compiled", "", text, "weightloom warm-up does it now.")
    peak = max(COMPILING_BYTES, looked.estimate.peak_memory_bytes)
    estimate = replace(looked.estimate, peak_memory_bytes=peak)
    return replace(looked, findings=(*looked.findings, finding), estimate=estimate)


def _check_mixture(text: str, library: Library, settings: Settings, token: str | None) -> Preflight:
    try:
        looked = premix(read_mixture(text), library, token, _rates(settings))
    except Refused as problem:
        return Preflight(None, problem.findings)
    return Preflight(looked.plan.recipe, (*looked.findings, made_by_moe("info")), looked.plan, looked.estimate)


def as_json(looked: Preflight) -> str:
    estimate = asdict(looked.estimate) if looked.estimate else None
    return json.dumps({"findings": [one.as_dict() for one in looked.findings], "estimate": estimate}, indent=2)


def as_lines(looked: Preflight) -> Iterator[str]:
    for finding in looked.findings:
        yield str(finding)
        yield from (f"  {change}" for change in finding.changes)
    if looked.estimate is not None:
        yield from _costs(looked.estimate)


def _costs(estimate: Estimate) -> Iterator[str]:
    for name, value in asdict(estimate).items():
        if name not in ("seconds", "basis"):
            yield f"{name.replace('_', ' ')}: {_readable(name, value)}"
    yield f"time: {roughly(estimate.seconds)}, {estimate.basis}"


def _readable(name: str, value: Any) -> str:
    if name.endswith("bytes"):
        return gigabytes(value) if value else "0"
    return f"{value:,}".replace(",", " ")


def _rates(settings: Settings) -> Rates:
    """What the server with this data folder has measured, if there is one."""
    if settings.database_url is None and not settings.database_file.exists():
        return GUESSED
    from sqlalchemy.exc import SQLAlchemyError  # a third of a second that most command lines need not spend

    from app.db import make_engine, sessions
    from app.jobs.pace import measured_rates

    engine = make_engine(settings)
    try:
        return measured_rates(sessions(engine))
    except SQLAlchemyError:
        return GUESSED
    finally:
        engine.dispose()
