"""What a mixture can be: the architectures that libraries load by themselves, and what each calls its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from app.experts.wanted import ARCHITECTURES
from app.recipe.findings import refuse

PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
"""The matrices of a dense model's MLP."""


@dataclass(frozen=True, slots=True)
class Target:
    """``bases``: model types it can be made of. ``router``, ``experts`` and ``shared`` come after a layer's prefix;
    ``experts`` maps each of ``PROJECTIONS`` to its name, ``{}`` standing for the expert's number. ``biases``: which
    parts of attention may have some. ``normed``: queries and keys go through norms of their own."""

    model_type: str
    loaded_by: str
    bases: tuple[str, ...]
    router: str
    experts: Mapping[str, str]
    shared: Mapping[str, str] | None = None
    shared_gate: str | None = None
    biases: tuple[str, ...] = ()
    normed: bool = False

    @property
    def title(self) -> str:
        return ARCHITECTURES[self.model_type]


def _qwen_names(part: str) -> Mapping[str, str]:
    return MappingProxyType({one: f"mlp.{part}.{one}.weight" for one in PROJECTIONS})


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "mixtral": Target(
            "mixtral", "MixtralForCausalLM", ("llama", "mistral"), "block_sparse_moe.gate.weight",
            MappingProxyType(
                {
                    "gate_proj": "block_sparse_moe.experts.{}.w1.weight",
                    "up_proj": "block_sparse_moe.experts.{}.w3.weight",
                    "down_proj": "block_sparse_moe.experts.{}.w2.weight",
                }
            ),
        ),
        "qwen2_moe": Target(
            "qwen2_moe", "Qwen2MoeForCausalLM", ("qwen2",), "mlp.gate.weight", _qwen_names("experts.{}"),
            _qwen_names("shared_expert"), "mlp.shared_expert_gate.weight", ("q_proj", "k_proj", "v_proj"),
        ),
        "qwen3_moe": Target(
            "qwen3_moe", "Qwen3MoeForCausalLM", ("qwen3",), "mlp.gate.weight", _qwen_names("experts.{}"),
            biases=("q_proj", "k_proj", "v_proj", "o_proj"), normed=True,
        ),
    }
)  # fmt: skip
KINDS = {kind: target for target in TARGETS.values() for kind in target.bases}
"""What a base of each model type becomes."""


def choose_target(architecture: str | None, base_type: str, ref: str) -> Target:
    """Raises Refused where the base cannot become it."""
    fitting = KINDS.get(base_type)
    possible = "; ".join(f"{' and '.join(one.bases)} become {one.title}" for one in TARGETS.values())
    if fitting is None:
        text = f"{ref} is a {base_type[:40] or 'model of an unnamed kind'}, which no mixture can be made of."
        raise refuse("cannot-be-mixed", "base_model", text, f"What is possible: {possible}.")
    if architecture is not None and architecture != fitting.model_type:
        text = f"{ref} is a {base_type}, which cannot become {ARCHITECTURES[architecture]}."
        raise refuse("wrong-architecture", "architecture", text, f"What is possible: {possible}.")
    return fitting
