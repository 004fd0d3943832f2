"""Will this recipe work here: the check of recipe and headers, and whether this server takes so large a merge on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from app.kinship import how_far_apart
from app.library.facts import Library
from app.planning.estimate import Estimate
from app.planning.rates import GUESSED, Rates
from app.preflight import Preflight, preflight
from app.recipe.findings import Finding, by_level
from app.settings import Settings
from app.web.rendering import byte_size, short_number


def check(
    text: str,
    library: Library,
    settings: Settings,
    *,
    seed: int | None = None,
    patience: float | None = None,
    rates: Rates = GUESSED,
) -> Preflight:
    """What the page, the API and the submit button know about a recipe before a byte of weights is fetched.

    ``patience``: seconds to wait at most for how far apart the parents are; without it nobody asks. ``rates``: what was
    measured on this server. Never raises for what people can get wrong. Slow (it reads headers over the network): call
    it in a thread.
    """
    checked = preflight(text, library, seed=seed, folded=True, rates=rates)
    if checked.estimate is None or checked.recipe is None:
        return checked
    refused = beyond_this_server(checked.estimate, library, settings)
    if patience is None:
        return replace(checked, findings=(*refused, *checked.findings))
    told, settled = how_far_apart(checked.recipe, checked.facts, library, patience=patience)
    findings = by_level((*refused, *checked.findings, *told))
    return replace(checked, findings=findings, unsettled=not settled)


def beyond_this_server(cost: Estimate, library: Library, settings: Settings) -> tuple[Finding, ...]:
    """Errors for a result that this server does not take on, or has no room for."""
    return (*_too_many_parameters(cost, settings), *_disk_full(cost, library, settings))


def _too_many_parameters(estimate: Estimate, settings: Settings) -> Iterator[Finding]:
    most = settings.max_parameters
    if most is not None and estimate.parameters > most:
        made, allowed = short_number(estimate.parameters), short_number(most)
        text = f"The result has {made} parameters; this server makes at most {allowed}."
        yield Finding("error", "too-many-parameters", "", text, "Merge smaller models, or use fewer layers.")


def _disk_full(estimate: Estimate, library: Library, settings: Settings) -> Iterator[Finding]:
    """The result goes into the data folder, what is fetched into the Hub's cache, often on the same disk."""
    needed: dict[int, tuple[Path, int]] = {}
    cache = library.hub.cache.root if library.hub else settings.data
    for folder, size in ((settings.data, estimate.output_bytes), (cache, estimate.download_bytes)):
        place = next(one for one in (folder, *folder.parents) if one.exists())
        first, before = needed.get(place.stat().st_dev, (place, 0))
        needed[place.stat().st_dev] = (first, before + size)
    for place, size in needed.values():
        free = shutil.disk_usage(place).free
        if size > free:
            text = f"The disk is too full: {byte_size(size)} are needed and {byte_size(free)} are free."
            fix = f"Free {byte_size(size - free)}, or put the folder on another disk."
            yield Finding("error", "disk-full", str(place), text, fix)
