"""How far apart two models are, from a few rows of a few matrices, and what that says about where they come from.

In the standard library alone: the web process asks this with every new pair of parents, and needs no NumPy otherwise.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import iter_unpack

from app.comparing.sampling import Ranges, sample_rows
from app.comparing.telling import percent
from app.planning.facts import DTYPE_BYTES, MERGEABLE, ModelFacts, TensorFacts
from app.planning.layers import read_structure
from app.planning.ledger import listed
from app.recipe.findings import Finding

PROBES = 6
ROWS = 4
_NARROWEST = 16

UNRELATED = 1.0
"""Weights that have nothing to do with each other: their product has mean 0, so the squares of both add up, and the
distance is at least the base's own size whatever the other's; √2 of it at equal sizes. Between fine-tunes of one base
such a distance does not occur."""
FAR = 0.3
"""From here on a change is of the size of the weights themselves: L. Yu et al. (arXiv 2311.03099) find
changes of up to 0.03 after continued pre-training, as large as the spread of the weights, and that dropping and merging
such changes fails."""
CLOSE = 0.1
"""Supervised fine-tuning moves weights by less than 0.002 (the same paper), a tenth of that spread or less; the
specialists of this project's tests, LoRA at rank 16, by 0.6 %."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Some rows of a tensor that both models have in one shape."""

    one: TensorFacts
    other: TensorFacts
    rows: Ranges

    def bytes_of(self, tensor: TensorFacts) -> tuple[tuple[int, int], ...]:
        """The places of these rows in the tensor's file."""
        row = tensor.shape[-1] * DTYPE_BYTES[tensor.dtype]
        return tuple((tensor.begin + first * row, tensor.begin + end * row) for first, end in self.rows)


def probes(one: ModelFacts, other: ModelFacts) -> tuple[Probe, ...]:
    """Which rows to read: of matrices in the layers, one from each sixth of the depth. Empty when nothing fits."""
    structure = read_structure(one)
    fitting = [
        name for name, tensor in one.tensors.items()
        if structure.cell(name)[0] is not None and _comparable(tensor, other.tensors.get(name))
    ]  # fmt: skip
    fitting.sort(key=structure.order)
    chosen = [fitting[first] for first, _ in sample_rows(len(fitting), PROBES, PROBES, "probes")] if fitting else []
    found = []
    for name in chosen[:PROBES]:
        tensor = one.tensors[name]
        rows = sample_rows(tensor.elements // tensor.shape[-1], ROWS, 1, name)
        found.append(Probe(tensor, other.tensors[name], rows))
    return tuple(found)


def relative_distance(pairs: Iterable[tuple[Sequence[float], Sequence[float]]]) -> float | None:
    """‖one − other‖ / ‖other‖ over all pairs of vectors together; None where ``other`` is nothing but zeros."""
    apart, size = [], []
    for one, other in pairs:
        apart.append(math.dist(one, other))
        size.append(math.hypot(*other))
    whole = math.hypot(*size)
    share = math.hypot(*apart) / whole if whole > 0 else math.nan
    return share if math.isfinite(share) else None


def numbers(raw: bytes, dtype: str) -> Sequence[float]:
    """Raw little-endian weights as floats."""
    if dtype == "F16":
        return [value for (value,) in iter_unpack("<e", raw)]
    if dtype == "BF16":
        widened = bytearray(2 * len(raw))
        widened[2::4], widened[3::4] = raw[::2], raw[1::2]
        raw, dtype = bytes(widened), "F32"
    values = array("f" if dtype == "F32" else "d", raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def tell(shares: Mapping[str, float], origin: str, *, from_base: bool) -> tuple[Finding, ...]:
    """Remarks on models by their distance from ``origin``, the base of a method that takes changes from one
    (``from_base``) or simply the first parent."""
    unrelated = {name: share for name, share in shares.items() if share >= UNRELATED}
    far = {name: share for name, share in shares.items() if FAR <= share < UNRELATED}
    near = {name: share for name, share in shares.items() if share < FAR}
    found = []
    if unrelated:
        what = "the changes taken from it will be noise" if from_base else "what lies between them is noise"
        text = f"{_differ(unrelated, origin)}: unrelated weights, {what}."
        found.append(Finding("warning", "unrelated-weights", "", text, "Use parents that were made from one base."))
    if far:
        text = f"{_differ(far, origin)}: far for a fine-tune. Continued pre-training or another ancestor leaves such "
        text += "gaps, and merges across them mostly fail."
        fix = "Check that they share an ancestor, and try the result."
        found.append(Finding("warning", "far-apart", "", text, fix))
    if near:
        found.append(Finding("info", "close-kin", "", f"{_differ(near, origin)}: {_kin(near, from_base)}."))
    return tuple(found)


def _differ(shares: Mapping[str, float], origin: str) -> str:
    (first, share), *others = shares.items()
    told = [f"{first} differs from {origin} by {percent(share)} of its size"]
    return listed([*told, *(f"{name} by {percent(one)}" for name, one in others)])


def _kin(shares: Mapping[str, float], from_base: bool) -> str:
    if max(shares.values()) >= CLOSE:
        return "the same origin, with long training in between"
    if not from_base:
        return "close relatives"
    return "a fine-tune of it" if len(shares) == 1 else "fine-tunes of it"


def _comparable(one: TensorFacts, other: TensorFacts | None) -> bool:
    return (
        other is not None
        and one.shape == other.shape
        and len(one.shape) > 1
        and one.shape[-1] >= _NARROWEST
        and one.elements > 0
        and one.dtype in MERGEABLE
        and other.dtype in MERGEABLE
    )
