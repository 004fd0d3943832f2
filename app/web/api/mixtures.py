"""``/api/mixtures``: mixtures of experts out of dense models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.experts.reading import LONGEST_PROMPT, MOST_EXPERTS, MOST_PROMPTS, MOST_SEED
from app.experts.wanted import ARCHITECTURES, DTYPES, GATE_MODES, WantedMixture, write_mixture
from app.web.api.jobs import IdempotencyKey, accepted
from app.web.dependencies import ServicesDep
from app.web.errors import findings_json
from app.web.mixing import look_at, mixture_json, submit_mixture

router = APIRouter(prefix="/api/mixtures", tags=["mixtures"])

Reference = Annotated[str, Field(max_length=600)]
Prompts = Annotated[list[Annotated[str, Field(max_length=LONGEST_PROMPT)]], Field(max_length=MOST_PROMPTS)]


class NewExpert(BaseModel, extra="forbid"):
    """A model whose MLPs go in."""

    source_model: Reference
    positive_prompts: Prompts = []
    negative_prompts: Prompts = []
    residual_scale: float | None = None


class NewMixture(BaseModel, extra="forbid"):
    """A mixture under the keys of its recipe."""

    base_model: Reference = Field(description="Gives attention, norms, embeddings, head and tokenizer.")
    experts: list[NewExpert] = Field(
        description="Two or more: `source_model`, `positive_prompts`, `negative_prompts`, `residual_scale`.",
        max_length=MOST_EXPERTS,
    )
    shared_experts: list[NewExpert] = Field([], description="One for a Qwen2 base, else none.", max_length=MOST_EXPERTS)
    gate_mode: str = Field("hidden", description=f"One of {', '.join(GATE_MODES)}.", max_length=40)
    dtype: str = Field(
        "bfloat16", description=f"Number format of the result, one of {', '.join(DTYPES)}.", max_length=40
    )
    experts_per_token: int = Field(2, description="How many work for a token.", ge=1, le=MOST_EXPERTS)
    architecture: str | None = Field(
        None, description=f"One of {', '.join(ARCHITECTURES)}. Unset: the one that fits the base.", max_length=40
    )
    seed: int = Field(0, ge=0, le=MOST_SEED, description="For routers drawn at random.")
    stream: bool = Field(False, description="Read Hub models in parts and store nothing of their weights.")

    def wanted(self) -> WantedMixture:
        """Raises Refused."""
        return WantedMixture.of_params(self.model_dump(exclude={"stream"}, exclude_defaults=True))


@router.post("", status_code=202)
def create(
    body: NewMixture, services: ServicesDep, response: Response, idempotency_key: IdempotencyKey = None
) -> dict[str, str]:
    """Check a mixture and queue its making, a job like any other. 422 with findings when it cannot be made."""
    made = submit_mixture(services, body.wanted(), stream=body.stream, key=idempotency_key)
    return accepted(made, response)


@router.post("/check")
def check(body: NewMixture, services: ServicesDep) -> dict[str, Any]:
    """Read the models' headers: findings, what the result will be and cost, and its recipe as YAML. 422 when it cannot
    be made."""
    known = look_at(body.wanted(), services)
    return {
        "findings": findings_json(known.findings),
        "mixture": mixture_json(known),
        "estimate": asdict(known.estimate),
        "recipe": write_mixture(body.wanted()),
    }
