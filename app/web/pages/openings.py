"""What the builder opens with: nothing, a method, a ready recipe, a shared one, a job's, or a draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from app.drafts.store import NOT_SAVED, Saved
from app.recipe.catalogue import METHODS
from app.recipe.presets import preset
from app.web.dependencies import ServicesDep
from app.web.errors import not_found

Slug = Annotated[str, Query(alias="preset", max_length=60)]
JobId = Annotated[str, Query(alias="job", max_length=32)]
SharedId = Annotated[str, Query(alias="shared", max_length=32)]
DraftId = Annotated[str, Query(alias="draft", max_length=32)]
SectionName = Annotated[str, Query(alias="document", max_length=200)]
MethodName = Annotated[str, Query(alias="method", max_length=60)]


@dataclass(frozen=True, slots=True)
class Opening:
    """A recipe's text, the shared recipe it is made from, and the draft that it is."""

    text: str = ""
    fork: str = ""
    saved: Saved = NOT_SAVED


def opening(
    services: ServicesDep,
    slug: Slug = "",
    job_id: JobId = "",
    shared_id: SharedId = "",
    draft_id: DraftId = "",
    method: MethodName = "",
) -> Opening:
    """``?preset=``, ``?job=``, ``?shared=`` or ``?draft=``; 404 for what is not there.

    ``?method=`` opens an empty recipe with that method.
    """
    if slug:
        ready = preset(slug)
        if ready is None:
            raise not_found("There is no such recipe.", among="recipes")
        return Opening(ready.text)
    if job_id:
        job = services.jobs.get(job_id)
        if job is None or not job.recipe:
            raise not_found("There is no such job.")
        return Opening(job.recipe)
    if shared_id:
        shared = services.shared.get(shared_id)
        if shared is None:
            raise not_found("There is no recipe behind this link.", among="recipes")
        return Opening(shared.text, shared.id)
    if draft_id:
        draft = services.drafts.get(draft_id)
        if draft is None:
            raise not_found("There is no such draft on this server any more.", among="recipes")
        return Opening(draft.text, draft.forked_from or "", Saved(draft.id, draft.version))
    return Opening(f"merge_method: {method}\n") if method in METHODS else Opening()


OpeningDep = Annotated[Opening, Depends(opening)]
