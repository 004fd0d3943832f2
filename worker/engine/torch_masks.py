"""Masks in torch: the same elements as the CPU's kernels keep."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from worker.engine.dtypes import BLOCK
from worker.engine.masks import (
    COUNTERS,
    EVERYTHING,
    MULTIPLIERS,
    ROUNDS,
    WEYL,
    ByRank,
    Cut,
    Marked,
    Mask,
    Random,
    Ranked,
    Stream,
)

_LOW = 0xFFFFFFFF


def words(stream: Stream, start: int, count: int, device: torch.device) -> Tensor:
    """The stream's words of elements ``start``..., int64 [count]. Products wrap at 64 bits, as they should."""
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    counters = torch.arange(first * COUNTERS, (last + 1) * COUNTERS, dtype=torch.int64, device=device)
    x0, x1 = counters & _LOW, counters >> 32
    x2, x3 = (torch.full_like(counters, word) for word in stream.salt)
    key0, key1 = stream.key
    for _ in range(ROUNDS):
        product0, product1 = x0 * MULTIPLIERS[0], x2 * MULTIPLIERS[1]
        x0 = ((product1 >> 32) & _LOW) ^ x1 ^ key0
        x2 = ((product0 >> 32) & _LOW) ^ x3 ^ key1
        x1, x3 = product1 & _LOW, product0 & _LOW
        key0, key1 = (key0 + WEYL[0]) & _LOW, (key1 + WEYL[1]) & _LOW
    blocks = torch.stack([x.view(-1, COUNTERS) for x in (x0, x1, x2, x3)], dim=1)
    return blocks.view(-1)[start - first * BLOCK :][:count]


def drop(delta: Tensor, mask: Mask, start: int) -> Tensor:
    """``delta`` fp32 [count], with 0 where the mask keeps nothing; its first element is ``start`` of the tensor."""
    if mask == Ranked(EVERYTHING):
        return delta
    return torch.where(_kept(delta, mask, start), delta, 0.0)


def _kept(delta: Tensor, mask: Mask, start: int) -> Tensor:
    count, device = len(delta), delta.device
    if isinstance(mask, Random):
        return words(mask.stream, start, count, device) < mask.threshold
    if isinstance(mask, Marked):
        marks = torch.from_numpy(mask.bits[start // 8 : -(-(start + count) // 8)]).to(device)
        shifts = torch.arange(8, dtype=torch.uint8, device=device)
        return ((marks[:, None] >> shifts) & 1).view(-1)[:count].bool()
    bits = delta.abs().view(torch.int32)
    return held(bits, mask.keep, start) & ~held(bits, mask.drop, start)


def held(bits: Tensor, cut: Cut, start: int) -> Tensor:
    """Which values, bits int32 [count], belong to ``cut``, the first being element ``start``."""
    place, before, after = cut.least
    index = torch.arange(start, start + len(bits), device=bits.device)
    return bits >= torch.where(index < place, before, after)


def kept_by_rank(bits: Tensor, draws: ByRank, k: int, start: int) -> Tensor:
    """What ``draws`` keeps of its k-th parent, uint8 [count]: 1 for kept. ``bits`` int32 [count] of |δ|, whole rows."""
    key0, key1, *salt = draws.streams[k].tolist()
    depth, device = draws.thresholds.shape[1], bits.device
    drawn = words(Stream((key0, key1), (salt[0], salt[1])), start, len(bits), device).view(-1, depth, draws.inner)
    limits = torch.from_numpy(draws.thresholds[k].astype(np.int64)).to(device).view(1, depth, 1)
    order = bits.view(-1, depth, draws.inner).sort(dim=1, stable=True).indices
    kept = torch.zeros_like(order, dtype=torch.uint8)
    return kept.scatter_(1, order, (drawn < limits).to(torch.uint8)).view(-1)
