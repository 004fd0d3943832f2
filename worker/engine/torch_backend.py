"""The torch back end: the same operations as the CPU's kernels, on a GPU, or on the CPU where Numba is missing.

Each engine thread has its own stream and its own pinned buffers, so that reading, transfers and arithmetic of
different threads overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from app.recipe.findings import refuse
from worker.engine.dtypes import ITEMSIZE, PARENT_UNSOUND, RESULT_UNSOUND, SEGMENT, Array
from worker.engine.sources import Source

TORCH_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}


@dataclass(slots=True)
class TorchChunk:
    """``inputs`` fp32 [inputs, count] on the device; ``out`` fp32 [count], rounded to ``dtype`` when taken."""

    bench: TorchBench
    start: int
    count: int
    inputs: Tensor
    dtype: str
    out: Any = None
    unsound: int = 0

    def finish(self, out: Tensor) -> None:
        self.out = out.to(TORCH_DTYPES[self.dtype])
        if not bool(torch.isfinite(self.out).all()):
            self.unsound |= RESULT_UNSOUND


class TorchBench:
    """Host memory of one thread, pinned for a GPU, and the thread's stream."""

    def __init__(self, device: torch.device) -> None:
        self._pin = device.type == "cuda"
        if self._pin:
            torch.cuda.set_stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
        else:
            torch.set_num_threads(1)
        self._host = torch.empty(0, dtype=torch.uint8)
        self.scratch: Array = torch.empty(1 << 20, dtype=torch.uint8).numpy()

    def host(self, size: int) -> Tensor:
        """``size`` bytes of host memory, the same every time."""
        if len(self._host) < size:
            self._host = torch.empty(size, dtype=torch.uint8, pin_memory=self._pin)
        return self._host[:size]


class TorchBackend:
    """``device``: ``cpu``, ``cuda`` or ``cuda:n``. Raises Refused(no-gpu)."""

    chunk = SEGMENT

    def __init__(self, device: str) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise refuse(
                "no-gpu",
                "device",
                "There is no GPU that torch can use here.",
                "Run the merge on the processor instead.",
            )
        self.device = torch.device(device)

    def bench(self) -> TorchBench:
        return TorchBench(self.device)

    def fill(self, bench: TorchBench, sources: tuple[Source, ...], start: int, count: int, dtype: str) -> TorchChunk:
        inputs = torch.empty((len(sources), count), dtype=torch.float32, device=self.device)
        for row, source in zip(inputs, sources, strict=True):
            host = bench.host(count * source.itemsize)
            source.read(host.numpy().data, start)
            row.copy_(host.to(self.device).view(TORCH_DTYPES[source.dtype]))
        chunk = TorchChunk(bench, start, count, inputs, dtype)
        if not bool(torch.isfinite(inputs).all()):
            chunk.unsound |= PARENT_UNSOUND
        return chunk

    def result(self, chunk: TorchChunk) -> memoryview:
        host = chunk.bench.host(chunk.count * ITEMSIZE[chunk.dtype])
        host.copy_(chunk.out.view(torch.uint8))
        return host.numpy().data

    def combine(self, chunk: TorchChunk, coefficients: Array, deltas: bool) -> None:
        factors = torch.from_numpy(coefficients).to(torch.float32).tolist()
        first = 1 if deltas else 0
        total = factors[first] * _row(chunk, first, deltas)
        for i in range(first + 1, len(chunk.inputs)):
            total += factors[i] * _row(chunk, i, deltas)
        chunk.finish(total + chunk.inputs[0] if deltas else total)

    def gram(self, chunk: TorchChunk, sums: Array, deltas: bool) -> None:
        first = 1 if deltas else 0
        rows = [_row(chunk, i, deltas).double() for i in range(first, len(chunk.inputs))]
        for i in range(len(rows)):
            for k in range(i, len(rows)):
                sums[i, k] += float(torch.dot(rows[i], rows[k]))


def _row(chunk: TorchChunk, i: int, deltas: bool) -> Tensor:
    return chunk.inputs[i] - chunk.inputs[0] if deltas else chunk.inputs[i]
