"""What making the routers takes beyond the merge: a forward pass of the base over the prompts."""

from __future__ import annotations

from dataclasses import replace

from app.experts.dense import Dense
from app.experts.wanted import HIDDEN, WantedMixture
from app.planning.estimate import Estimate

MOST_TOKENS = 512
"""Of a prompt that are looked at."""
GROUP = 2048
"""Tokens that pass a layer together."""
_LETTERS_A_TOKEN = 3.5
_FLOPS = 4e10
"""Multiplications and additions a second of two cores: a guess on the safe side."""
_READ_NS = 1.0
"""For reading one number of the base and turning it into fp32."""
_BLOCK_BYTES = 64_000_000
"""Weights and their fp32 form that are in memory at a time."""


def tokens(wanted: WantedMixture) -> int:
    """How many tokens the prompts are, about."""
    prompts = (prompt for one in wanted.everyone for prompt in (*one.positive, *one.negative))
    return sum(min(MOST_TOKENS, round(len(prompt) / _LETTERS_A_TOKEN) + 2) for prompt in prompts)


def with_routers(estimate: Estimate, wanted: WantedMixture, dense: Dense) -> Estimate:
    """The merge's estimate, and the forward pass."""
    if wanted.gate_mode not in HIDDEN:
        return estimate
    weights = sum(one.elements for name, one in dense.facts.tensors.items() if name.startswith("model.layers."))
    count = tokens(wanted)
    seconds = 2 * weights * count / _FLOPS + weights * _READ_NS * 1e-9
    width = 2 * dense.inner + 4 * dense.hidden + 2 * (dense.heads + 2 * dense.keys) * dense.head_dim
    room = 4 * (count * dense.hidden + min(count, GROUP) * width) + _BLOCK_BYTES
    peak = max(estimate.peak_memory_bytes, estimate.peak_memory_bytes // 2 + room)
    return replace(estimate, seconds=round(estimate.seconds + seconds, 1), peak_memory_bytes=peak)
