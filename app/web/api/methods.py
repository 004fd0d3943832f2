"""``GET /api/methods``: the catalogue of merge methods."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app.recipe.catalogue import METHODS

router = APIRouter(prefix="/api", tags=["methods"])


@router.get("/methods")
def list_methods() -> dict[str, list[dict[str, Any]]]:
    """Every merge method: what it does, how many parents it takes, and its parameters with ranges and defaults."""
    return {"methods": [method.as_dict() for method in METHODS.values()]}
