"""``/api/models``: find parents, and what is known of one before its weights are read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from app.recipe.references import parse_reference
from app.web.dependencies import LibraryDep
from app.web.errors import findings_json
from app.web.model_summary import summary

router = APIRouter(prefix="/api/models", tags=["models"])

SearchText = Annotated[str, Query(max_length=200, description="Words of the model's name.")]
Limit = Annotated[int, Query(ge=1, le=50, description="At most so many of the Hub.")]
Kind = Annotated[
    Literal["model", "adapter"] | None, Query(description="Only models, or only adapters; both without it.")
]
Reference = Annotated[
    str, Query(max_length=600, description="`owner/name`, `owner/name@revision` or `local:root/folder`.")
]


@router.get("/search")
def search(q: SearchText, library: LibraryDep, limit: Limit = 8, kind: Kind = None) -> dict[str, Any]:
    """Models whose name fits: those of the local folders first, then the Hub's, most downloaded first.

    `adapter` is true where a folder or the Hub's listing says that it is one. A Hub that cannot be asked is a finding,
    not an error.
    """
    found = library.search(q, limit, adapters=None if kind is None else kind == "adapter")
    return {"models": [asdict(model) for model in found.models], "findings": findings_json(found.findings)}


@router.get("/facts")
def facts(ref: Reference, library: LibraryDep) -> dict[str, Any]:
    """A model's config, size, dtypes, layers, files, commit and licence, read from config and headers alone."""
    return summary(library.facts(parse_reference(ref, "ref")))
