"""Methods for a base and one other parent in torch; inputs are fp32 [count]. See ``worker.engine.kernels.pairs``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worker.engine.dtypes import BLOCK, Array


def nearswap(inputs: Sequence[Tensor], t: float) -> tuple[Tensor, Array]:
    """The result, and Σ w of each block, fp64."""
    base, other = inputs
    share = (torch.tensor(t, dtype=torch.float32) / (base - other).abs().clamp(min=1e-6)).clamp(max=1)
    blocks = np.add.reduceat(share.double().cpu().numpy(), np.arange(0, len(share), BLOCK))
    return share * other + (1 - share) * base, blocks


def divergences(inputs: Sequence[Tensor], width: int) -> Tensor:
    """KL(softmax x₁ ‖ softmax x₀) of each row of ``width`` elements, fp64 [rows], never negative."""
    q, p = (one.view(-1, width).double().softmax(dim=1) + 1e-8 for one in inputs)
    return (p * (p / q).log()).sum(dim=1).clamp(min=0)


def importances(inputs: Sequence[Tensor], found: Tensor) -> Tensor:
    """|x₁ − x₀| times the row's divergence, fp32 [count]."""
    base, other = inputs
    gap = (other - base).abs().double().view(len(found), -1)
    return (gap * found[:, None]).float().view(-1)
