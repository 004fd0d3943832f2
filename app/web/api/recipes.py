"""``POST /api/recipes/check``: will it work, and what will it cost."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.web.checking import check
from app.web.dependencies import BodyText, JobsDep, LibraryDep, SettingsDep
from app.web.errors import findings_json
from app.web.submitting import MAX_SEED

router = APIRouter(prefix="/api/recipes", tags=["recipes"])

PATIENCE = 1.0
"""Seconds to wait for how far apart the parents are; a second time it is known."""
_YAML_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/yaml": {"schema": {"type": "string", "description": "A recipe: mergekit YAML."}}},
    }
}


@router.post("/check", openapi_extra=_YAML_BODY)
def check_recipe(
    text: BodyText,
    library: LibraryDep,
    settings: SettingsDep,
    jobs: JobsDep,
    seed: Annotated[int | None, Query(ge=0, le=MAX_SEED)] = None,
) -> dict[str, Any]:
    """Findings and costs of a recipe from its parents' headers alone; no weights are fetched, nothing is started.

    The estimate is null while there are errors. Sizes are bytes, times seconds; ``basis`` says what the time rests on.
    """
    checked = check(text, library, settings, seed=seed, patience=PATIENCE, rates=jobs.rates())
    return {
        "findings": findings_json(checked.findings),
        "estimate": asdict(checked.estimate) if checked.estimate else None,
    }
