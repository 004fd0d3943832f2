"""``/api/adapters``: LoRA adapters as results."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.adapting.methods import METHODS
from app.adapting.wanted import (
    DENSITY,
    DTYPES,
    MOST_ADAPTERS,
    MOST_SEED,
    WantedExtract,
    WantedMerge,
    read_extract,
    read_merge,
)
from app.preadapt import preextract, premerge
from app.web.adapting import outline_json, submit_extract, submit_merge
from app.web.api.jobs import IdempotencyKey, accepted
from app.web.dependencies import ServicesDep

router = APIRouter(prefix="/api/adapters", tags=["adapters"])

Reference = Annotated[str, Field(max_length=600)]


class NewAdapterMerge(BaseModel, extra="forbid"):
    """Adapters to be made into one."""

    adapters: list[Reference] = Field(
        description="LoRA adapters: Hub ids or `local:root/folder`.", max_length=MOST_ADAPTERS
    )
    weights: list[float] | None = Field(None, description="One for each adapter; 1 without.", max_length=MOST_ADAPTERS)
    method: str = Field("svd", description=f"One of {', '.join(METHODS)}.", max_length=40)
    rank: int | None = Field(None, description="Of the result; as large as needed without.")
    density: float = Field(DENSITY, description="The share of changes that TIES and DARE keep.")
    factor: float = Field(1.0, description="Multiplies the result.")
    normalize: bool | None = Field(None, description="Divide by the weights. Unset: as the method does by itself.")
    seed: int = Field(0, ge=0, le=MOST_SEED, description="For DARE.")
    dtype: str = Field(DTYPES[0], description=f"Number format of the result, one of {', '.join(DTYPES)}.")

    def wanted(self) -> WantedMerge:
        return read_merge(**self.model_dump())


class NewExtraction(BaseModel, extra="forbid"):
    """A fine-tune and the model that it was made from."""

    tuned: Reference = Field(description="The fine-tune, which may have an adapter on it.")
    base: Reference = Field(description="What it was made from.")
    rank: int = Field(16, description="Of every module, at most.")
    max_error: float | None = Field(
        None, description="Less rank where so much of a change may be missing: 0.1 is a tenth."
    )
    modules: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], description="Last parts of the names of the layers that get LoRA; all without.", max_length=100
    )
    whole: bool = Field(True, description="Save along what else changed: norms, embeddings, head, biases.")
    seed: int = Field(0, ge=0, le=MOST_SEED, description="For the random projection.")
    dtype: str = Field(DTYPES[0], description=f"Number format of the result, one of {', '.join(DTYPES)}.")

    def wanted(self) -> WantedExtract:
        return read_extract(**self.model_dump())


@router.post("", status_code=202)
def create(
    body: NewAdapterMerge, services: ServicesDep, response: Response, idempotency_key: IdempotencyKey = None
) -> dict[str, str]:
    """Check adapters and queue their merge, a job like any other. 422 with findings when they cannot be merged."""
    return accepted(submit_merge(services, body.wanted(), key=idempotency_key), response)


@router.post("/check")
def check(body: NewAdapterMerge, services: ServicesDep) -> dict[str, Any]:
    """Read the adapters' headers: findings, and what the result will be and cost. 422 when they cannot be merged."""
    known = premerge(body.wanted(), services.library)
    return {"findings": [one.as_dict() for one in known.findings], "outline": outline_json(known.outline)}


@router.post("/extract", status_code=202)
def extract(
    body: NewExtraction, services: ServicesDep, response: Response, idempotency_key: IdempotencyKey = None
) -> dict[str, str]:
    """Check two models and queue the extraction of a LoRA adapter from them. 422 with findings when it cannot be."""
    return accepted(submit_extract(services, body.wanted(), key=idempotency_key), response)


@router.post("/extract/check")
def check_extraction(body: NewExtraction, services: ServicesDep) -> dict[str, Any]:
    """Read the models' headers: findings, and what the result will be and cost at most. 422 when it cannot be."""
    known = preextract(body.wanted(), services.library)
    return {"findings": [one.as_dict() for one in known.findings], "outline": outline_json(known.outline)}
