"""The torch back end: the same operations as the CPU's kernels, on a GPU, or on the CPU where Numba is missing.

Each engine thread has its own stream and its own pinned buffers, so that reading, transfers and arithmetic of
different threads overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.recipe.findings import refuse
from worker.engine import torch_pairs as pairs
from worker.engine.backend import Tallied
from worker.engine.dtypes import BLOCK, ITEMSIZE, PARENT_UNSOUND, RESULT_UNSOUND, SEGMENT, Array, keep_freed_memory
from worker.engine.masks import ByRank, Cut, Mask
from worker.engine.sources import Source
from worker.engine.torch_bench import TORCH_DTYPES, TorchBench
from worker.engine.torch_masks import drop, held, kept_by_rank

_CPU_CHUNK = 1 << 17
"""Small enough for the cache. A GPU gets whole segments."""


@dataclass(slots=True)
class TorchChunk:
    """``inputs`` fp32 [inputs, count] on the device; ``out`` [count] is rounded to ``dtype``."""

    bench: TorchBench
    start: int
    count: int
    inputs: list[Tensor]
    dtype: str
    out: Any = None
    unsound: int = 0

    def delta(self, i: int) -> Tensor:
        """xᵢ − x₀."""
        return self.inputs[i] - self.inputs[0]

    def deltas(self) -> Tensor:
        """Those of all inputs but the base, [n, count]."""
        return torch.stack([self.delta(i) for i in range(1, len(self.inputs))])

    def finish(self, out: Tensor) -> None:
        self.out = out.to(TORCH_DTYPES[self.dtype])
        if not bool(torch.isfinite(self.out).all()):
            self.unsound |= RESULT_UNSOUND


class TorchBackend:
    """``device``: ``cpu``, ``cuda`` or ``cuda:n``. Raises Refused(no-gpu)."""

    def __init__(self, device: str) -> None:
        number = int(device.partition(":")[2] or 0)
        if device.startswith("cuda") and (not torch.cuda.is_available() or number >= torch.cuda.device_count()):
            advice = "Run the merge on the processor instead."
            raise refuse("no-gpu", "device", "There is no GPU that torch can use here.", advice)
        self.device = torch.device(device)
        self.chunk = _CPU_CHUNK if self.device.type == "cpu" else SEGMENT
        keep_freed_memory()

    def bench(self) -> TorchBench:
        return TorchBench(self.device)

    def fill(self, bench: TorchBench, sources: tuple[Source, ...], start: int, count: int, dtype: str) -> TorchChunk:
        inputs = [one.float() for one in bench.read(sources, start, count)]
        chunk = TorchChunk(bench, start, count, inputs, dtype)
        if not all(bool(torch.isfinite(one).all()) for one in inputs):
            chunk.unsound |= PARENT_UNSOUND
        return chunk

    def result(self, chunk: TorchChunk) -> memoryview:
        host = chunk.bench.host(chunk.count * ITEMSIZE[chunk.dtype])
        host.copy_(chunk.out.view(torch.uint8))
        return host.numpy().data

    def combine(self, chunk: TorchChunk, coefficients: Array, deltas: bool) -> None:
        factors = coefficients.astype(np.float32).tolist()
        terms = range(1, len(factors)) if deltas else range(len(factors))
        total: Any = None
        for i in terms:
            term = factors[i] * (chunk.delta(i) if deltas else chunk.inputs[i])
            total = term if total is None else total + term
        chunk.finish(total + chunk.inputs[0] if deltas else total)

    def gram(self, chunk: TorchChunk, sums: Array, deltas: bool) -> None:
        first = 1 if deltas else 0
        vectors = [chunk.delta(i) if deltas else chunk.inputs[i] for i in range(first, len(chunk.inputs))]
        for i, one in enumerate(vectors):
            for k in range(i, len(vectors)):
                sums[i, k] += float(torch.dot(one.double(), vectors[k].double()))

    def masks(self, masks: Sequence[Mask], elements: int = 0) -> Sequence[Mask]:  # noqa: ARG002
        return masks

    def remember(self, masks: Sequence[Mask]) -> None:
        """Masks are drawn anew each time."""

    def sizes(self, chunk: TorchChunk, masks: Sequence[Mask], sums: Array) -> None:
        for i, mask in enumerate(masks):
            delta = chunk.delta(i + 1)
            sums[i, 0] += float(delta.double().abs().sum())
            sums[i, 1] += float(drop(delta, mask, chunk.start).double().abs().sum())

    def add_up(self, chunk: TorchChunk, masks: Sequence[Mask], factors: Array) -> None:
        total = torch.zeros_like(chunk.inputs[0])
        for i, factor in enumerate(factors.astype(np.float32).tolist()):
            total = total + factor * drop(chunk.delta(i + 1), masks[i], chunk.start)
        chunk.finish(total + chunk.inputs[0])

    def elect(
        self, chunk: TorchChunk, masks: Sequence[Mask], factors: Array, weights: Array, divide: bool, scale: float
    ) -> None:
        base = chunk.inputs[0]
        up = torch.zeros_like(base, dtype=torch.float64)
        down = torch.zeros_like(up)
        up_weight, down_weight = torch.zeros_like(base), torch.zeros_like(base)
        pairs = zip(factors.astype(np.float32).tolist(), weights.astype(np.float32).tolist(), strict=True)
        for i, (factor, weight) in enumerate(pairs):
            value = factor * drop(chunk.delta(i + 1), masks[i], chunk.start).double()
            up += value.clamp(min=0)
            down += value.clamp(max=0)
            up_weight += weight * (value > 0).float()
            down_weight += weight * (value < 0).float()
        positive = up + down >= 0
        total = torch.where(positive, up, down).float()
        if divide:
            weight_sum = torch.where(positive, up_weight, down_weight)
            total = total / torch.where(weight_sum == 0, 1.0, weight_sum)
        chunk.finish(base + float(np.float32(scale)) * total)

    def consent(
        self, chunk: TorchChunk, masks: Sequence[Mask], weights: Array, thresholds: Array, least: int, vote: bool,
        divide: bool, scale: float,
    ) -> None:  # fmt: skip
        base = chunk.inputs[0]
        factors, limits = weights.astype(np.float32).tolist(), thresholds.astype(np.float32).tolist()
        kept = torch.stack([
            factor * drop(chunk.delta(i + 1), masks[i], chunk.start).double() for i, factor in enumerate(factors)
        ])  # fmt: skip
        agrees = torch.ones_like(kept, dtype=torch.bool)
        if vote:
            agrees = torch.where(kept.sum(dim=0) >= 0, kept > 0, kept < 0)
        merged = (kept * agrees).sum(dim=0)
        voices = torch.zeros_like(base)
        for i, (factor, limit) in enumerate(zip(factors, limits, strict=True)):
            value = factor * chunk.delta(i + 1).double()
            voices += (value.abs() >= limit * (merged - value).abs()).float()
        divisor = torch.ones_like(base)
        if divide:
            divisor = sum(factor * one.float() for factor, one in zip(factors, agrees, strict=True))
            divisor = torch.where(divisor == 0, 1.0, divisor)
        change = float(np.float32(scale)) * (merged.float() / divisor)
        chunk.finish(base + torch.where(voices > least - 0.5, change, 0.0))

    def magnitudes(self, chunk: TorchChunk) -> Tensor:
        return chunk.deltas().abs().view(torch.int32)

    def variances(self, chunk: TorchChunk) -> Tensor:
        return _variances(chunk).view(1, -1)

    def to_numpy(self, bits: Tensor) -> Array:
        return bits.cpu().numpy().view(np.uint32)

    def tally(self, bits: Tensor, questions: Array) -> list[Tallied]:
        return [self._tally(bits[row], low, high) for row, low, high in questions.tolist()]

    def _tally(self, bits: Tensor, low: int, high: int) -> Tallied:
        counts = torch.stack([(bits > high).sum(), (bits == high).sum(), (bits == low).sum()]).tolist()
        return (*counts, self.to_numpy(bits[(bits > low) & (bits < high)]))

    def tally_changes(self, chunk: TorchChunk, questions: Array) -> list[Tallied]:
        return self.tally(self.magnitudes(chunk), questions)

    def histogram(self, bits: Tensor, low_bits: int, prefix: int | None) -> Array:
        upper = bits >> low_bits
        if prefix is None:
            return torch.bincount(upper, minlength=1 << (31 - low_bits)).cpu().numpy()
        lower = bits[upper == prefix] & ((1 << low_bits) - 1)
        return torch.bincount(lower, minlength=1 << low_bits).cpu().numpy()

    def draw_by_rank(self, chunk: TorchChunk, draws: ByRank, bits: Array, sums: Array) -> None:
        for k, i in enumerate(draws.parents.tolist()):
            sizes = chunk.delta(i + 1).abs()
            kept = kept_by_rank(sizes.view(torch.int32), draws, k, chunk.start)
            sums[i, 0] += float(sizes.double().sum())
            sums[i, 1] += float((sizes.double() * kept).sum())
            packed, first = np.packbits(kept.cpu().numpy(), bitorder="little"), chunk.start // 8
            bits[i, first : first + len(packed)] = packed

    def selection(self, cut: Cut | None, elements: int) -> Cut | None:  # noqa: ARG002
        return cut

    def energies(self, chunk: TorchChunk, cut: Cut | None, sums: Array) -> None:
        sums += _selected(chunk, cut).double().square().sum(dim=1).cpu().numpy()

    def agree(self, chunk: TorchChunk, cut: Cut | None, shares: Array) -> None:
        changes = _selected(chunk, cut)
        plus = changes.double().sum(dim=0) >= 0
        top = torch.zeros_like(chunk.inputs[0])
        bottom = torch.zeros_like(top)
        for change, share in zip(changes, shares.astype(np.float32).tolist(), strict=True):
            agreed = share * torch.where(plus, change > 0, change < 0).float()
            top += agreed * change
            bottom += agreed
        chunk.finish(chunk.inputs[0] + top / bottom.clamp(min=1e-6))

    def count_changes(self, chunk: TorchChunk, epsilon: float, counts: Array) -> None:
        changed = chunk.deltas().abs() > float(np.float32(epsilon))
        alone = changed.sum(dim=0) == 1
        counts += torch.stack([(changed & alone).sum(dim=1), (changed & ~alone).sum(dim=1)]).cpu().numpy()

    def share_out(self, chunk: TorchChunk, epsilon: float, alone: Array) -> None:
        changes = chunk.deltas()
        changed = changes.abs() > float(np.float32(epsilon))
        changers = changed.sum(dim=0)
        shared = 1.0 / changers.clamp(min=1).float()
        total = torch.zeros_like(chunk.inputs[0])
        for i, factor in enumerate(alone.astype(np.float32).tolist()):
            total += torch.where(changed[i], torch.where(changers == 1, factor, shared) * changes[i], 0.0)
        chunk.finish(total + chunk.inputs[0])

    def nearswap(self, chunk: TorchChunk, t: float, taken: Array) -> None:
        result, shares = pairs.nearswap(chunk.inputs, t)
        taken[chunk.start // BLOCK :][: len(shares)] = shares
        chunk.finish(result)

    def importances(self, chunk: TorchChunk, width: int, divergences: Array) -> Tensor:
        found, first = pairs.divergences(chunk.inputs, width), chunk.start // width
        divergences[first : first + len(found)] = found.cpu().numpy()
        return pairs.importances(chunk.inputs, found).view(torch.int32).view(1, -1)

    def choose(self, chunk: TorchChunk, width: int, divergences: Array, limit: float, taken: Array) -> None:
        first, rows = chunk.start // width, chunk.count // width
        found = torch.from_numpy(divergences[first : first + rows]).to(self.device)
        chosen = pairs.importances(chunk.inputs, found).double() >= limit
        taken[first : first + rows] = chosen.view(-1, width).sum(dim=1).cpu().numpy()
        chunk.finish(torch.where(chosen, chunk.inputs[1], chunk.inputs[0]))

    def floats(self, chunk: TorchChunk) -> Array:
        return torch.stack(chunk.inputs).cpu().numpy()

    def put(self, chunk: TorchChunk, values: Array) -> None:
        chunk.finish(torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device))


def _variances(chunk: TorchChunk) -> Tensor:
    """Bits of the variance of the changes at each element, int32 [count]."""
    return chunk.deltas().double().var(dim=0, correction=0).float().view(torch.int32)


def _selected(chunk: TorchChunk, cut: Cut | None) -> Tensor:
    """The changes, 0 outside ``cut``."""
    changes = chunk.deltas()
    return changes if cut is None else torch.where(held(_variances(chunk), cut, chunk.start), changes, 0.0)
