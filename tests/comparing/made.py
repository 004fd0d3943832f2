"""Comparisons with chosen numbers."""

from __future__ import annotations

from collections.abc import Sequence

from app.comparing.comparison import Comparison
from app.comparing.sums import TensorSums, pairs

LAYERS = 8
_SUFFIXES = {"q": "self_attn.q_proj.weight", "up": "mlp.up_proj.weight"}


def comparison(
    norms: Sequence[float] = (0.01, 0.01),
    cosine: float = 0.0,
    conflict: float = 0.2,
    overlap: float = 0.4,
    mlp_conflict: dict[int, float] | None = None,
    base: str | None = "a/base",
    layers: int = LAYERS,
) -> Comparison:
    """Models ``a/A``... with these numbers in every tensor; ``mlp_conflict`` of the last pair by layer."""
    tensors = []
    for layer in range(layers):
        for module, suffix in _SUFFIXES.items():
            shares = [conflict] * len(pairs(len(norms)))
            if module == "up" and mlp_conflict and layer in mlp_conflict:
                shares[-1] = mlp_conflict[layer]
            name = f"model.layers.{layer}.{suffix}"
            sums = tensor_sums(name, layer, module, norms, cosine, shares, overlap)
            tensors.append(sums if base else _without_changes(sums))
    models = tuple(f"a/{letter}" for letter in "ABCDEFGH"[: len(norms)])
    return Comparison(models, base, False, 0.2, tuple(tensors))


def _without_changes(sums: TensorSums) -> TensorSums:
    """As a comparison without a base counts: of the weights alone."""
    return TensorSums(
        sums.name, sums.layer, sums.module, sums.shape, sums.elements, sums.measured,
        squares=sums.squares[:-1], products=sums.products, apart=sums.apart,
    )  # fmt: skip


def tensor_sums(
    name: str, layer: int, module: str, norms: Sequence[float], cosine: float, shares: Sequence[float], overlap: float
) -> TensorSums:
    every = pairs(len(norms))
    return TensorSums(
        name, layer, module, (10, 100), 1000, 1000,
        squares=(*(1.0 for _ in norms), 1.0),
        products=(0.99,) * len(every),
        apart=(0.02,) * len(every),
        delta_squares=tuple(norm**2 for norm in norms),
        delta_products=tuple(cosine * norms[i] * norms[j] for i, j in every),
        sizes=tuple(10 * norm for norm in norms),
        against=tuple(share * 10 * (norms[i] + norms[j]) for share, (i, j) in zip(shares, every, strict=True)),
        against_all=max(shares, default=0.0) * 10 * sum(norms),
        top=tuple(200 if norm else 0 for norm in norms),
        both=(round(200 * overlap),) * len(every),
        common=round(200 * overlap),
        ranks=tuple(4.0 for _ in norms),
        rank_most=10,
    )  # fmt: skip
