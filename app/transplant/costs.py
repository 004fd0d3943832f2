"""What comparing tokens in the donor's embeddings takes beyond the merge."""

from __future__ import annotations

from dataclasses import replace

from app.planning.estimate import Estimate
from app.planning.facts import DTYPE_BYTES
from app.planning.plan import Plan
from app.transplant.matching import Match
from app.transplant.matrices import DONOR
from app.transplant.wanted import WantedTransplant

_LOOKS = 8
"""At all shared tokens, at least, while those for a new one are chosen."""
_FLOPS = 1e11
"""Multiplications and additions a second of two cores, as measured."""
_PICK_NS = 120.0
"""For one number of a row while a new token's shared tokens are chosen, with two threads, as measured at k = 64."""
_ROOM = 200_000_000
"""Blocks of rows and what is known of the tokens that are looked at together."""


def steps(k: int) -> int:
    """Shared tokens chosen between two looks at all of them."""
    return max(1, k // _LOOKS)


def with_search(estimate: Estimate, wanted: WantedTransplant, match: Match, plan: Plan) -> Estimate:
    """The merge's estimate, and the search for shared tokens in the donor's matrices."""
    searched = [one.sources[DONOR].tensor for one in plan.alignments if DONOR in one.sources]
    looks = -(-wanted.k // steps(wanted.k)) if wanted.pursued else 1
    seconds, mapped = 0.0, 0
    for tensor in searched:
        width = tensor.shape[1]
        pairs = len(match.fresh) * len(match.shared)
        seconds += 2 * pairs * width * looks / _FLOPS
        seconds += len(match.fresh) * wanted.k * width * _PICK_NS * 1e-9 if wanted.pursued else 0.0
        mapped = max(mapped, len(match.shared) * width * DTYPE_BYTES[tensor.stored])
    if not searched or not match.fresh:
        return estimate
    return replace(
        estimate,
        seconds=round(estimate.seconds + seconds, 1),
        peak_memory_bytes=estimate.peak_memory_bytes + _ROOM + mapped,
        disk_bytes=estimate.disk_bytes + mapped,
    )
