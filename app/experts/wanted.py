"""What somebody wants made of dense models: a mixture of experts, as immutable values and as the YAML people publish.

The job's row, the API and the file hold the same mapping; ``of_params`` and ``read_mixture`` give back what
``as_params`` and ``write_mixture`` were given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.experts.reading import read_mapping
from app.recipe.findings import refuse
from app.recipe.safe_yaml import load_documents
from app.recipe.schema import ModelRef
from app.recipe.writing import write_document

GATE_MODES: Mapping[str, str] = MappingProxyType(
    {
        "hidden": "What the base makes of each expert's prompts, layer by layer, at their last token.",
        "hidden_avg": "What the base makes of each expert's prompts, layer by layer, averaged over their tokens.",
        "hidden_last": "The same as hidden, under its longer name.",
        "cheap_embed": "The mean of the prompts' token embeddings, the same for every layer: quick, and less exact.",
        "random": "Small numbers from a normal distribution: a start for training, and useless without.",
        "uniform_random": "Small numbers from a uniform distribution: a start for training, and useless without.",
    }
)
"""How the routers are made, each in a sentence."""
HIDDEN = ("hidden", "hidden_avg", "hidden_last")
PROMPTED = (*HIDDEN, "cheap_embed")
"""Modes that need prompts; the others draw at random."""
ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {"mixtral": "Mixtral", "qwen2_moe": "Qwen2-MoE", "qwen3_moe": "Qwen3-MoE"}
)
"""What a mixture can be, by the model type in its config."""
DTYPES = ("float32", "bfloat16", "float16")
_LOOKS_LIKE = re.compile(r"""^["']?(experts|gate_mode|shared_experts)["']?[ \t]*:""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Expert:
    """``positive``: prompts that shall be routed to it, ``negative``: those that shall not. ``noise``: kept for files
    that name it, only 0 can be made. ``residual`` multiplies what it adds; None is 1."""

    source: ModelRef
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    noise: float = 0.0
    residual: float | None = None

    def as_params(self) -> dict[str, Any]:
        told: dict[str, Any] = {"source_model": str(self.source), "positive_prompts": list(self.positive)}
        if self.negative:
            told["negative_prompts"] = list(self.negative)
        if self.noise:
            told["noise_scale"] = self.noise
        if self.residual is not None:
            told["residual_scale"] = self.residual
        return told


@dataclass(frozen=True, slots=True)
class WantedMixture:
    """``base`` gives everything but the experts: attention, norms, embeddings, head. ``architecture``: a key of
    ``ARCHITECTURES``, None for the one that fits the base. ``seed``: for gates drawn at random."""

    base: ModelRef
    experts: tuple[Expert, ...]
    shared: tuple[Expert, ...] = ()
    gate_mode: str = "hidden"
    dtype: str = "bfloat16"
    experts_per_token: int = 2
    architecture: str | None = None
    seed: int = 0

    @property
    def prompted(self) -> bool:
        """Whether the routers come from prompts."""
        return self.gate_mode in PROMPTED

    @property
    def everyone(self) -> tuple[Expert, ...]:
        """The experts, then those that every token passes."""
        return (*self.experts, *self.shared)

    def parents(self) -> tuple[ModelRef, ...]:
        """Every model that goes in, each once, the base first."""
        return tuple(dict.fromkeys((self.base, *(one.source for one in self.everyone))))

    def as_params(self) -> dict[str, Any]:
        """For the job's row and the API, under the file's keys."""
        told: dict[str, Any] = {
            "base_model": str(self.base),
            "gate_mode": self.gate_mode,
            "dtype": self.dtype,
            "experts_per_token": self.experts_per_token,
        }
        if self.architecture is not None:
            told["architecture"] = self.architecture
        if self.seed:
            told["seed"] = self.seed
        told["experts"] = [one.as_params() for one in self.experts]
        if self.shared:
            told["shared_experts"] = [one.as_params() for one in self.shared]
        return told

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> WantedMixture:
        """Raises Refused with everything that is wrong."""
        read = read_mapping(params, GATE_MODES, DTYPES)
        experts = tuple(Expert(**one) for one in read.pop("experts"))
        shared = tuple(Expert(**one) for one in read.pop("shared"))
        return cls(experts=experts, shared=shared, **read)


def read_mixture(text: str) -> WantedMixture:
    """The mixture in a YAML file as it is published. Raises Refused with everything that is wrong."""
    documents = [one for one in load_documents(text) if one is not None]
    if len(documents) != 1 or not isinstance(documents[0], dict):
        told = (
            "There is no recipe here yet." if not documents else "A mixture's recipe is one list of key: value lines."
        )
        raise refuse("not-a-mixture", "", told, "Start with base_model: and experts:.")
    return WantedMixture.of_params(documents[0])


def write_mixture(wanted: WantedMixture) -> str:
    """As YAML. ``read_mixture(write_mixture(wanted)) == wanted``."""
    return write_document(wanted.as_params())


def is_mixture(text: str) -> bool:
    """Whether a text looks like the recipe of a mixture, without reading it."""
    return _LOOKS_LIKE.search(text) is not None
