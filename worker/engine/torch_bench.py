"""One thread's memory for the torch back end, and the inputs that are in it.

On a GPU the inputs of a tensor stay there between passes while there is room.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from worker.engine.dtypes import Array
from worker.engine.sources import Source

TORCH_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}


class TorchBench:
    """Host memory of one thread, pinned for a GPU, and the thread's stream, which all benches of a thread share."""

    kept = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pin = device.type == "cuda"
        if self._pin:
            if torch.cuda.current_stream(device) == torch.cuda.default_stream(device):
                torch.cuda.set_stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
        else:
            torch.set_num_threads(1)
        self._host = torch.empty(0, dtype=torch.uint8)
        self.scratch: Array = np.empty(1 << 20, np.uint8)
        self._kept: dict[int, list[Tensor]] = {}
        self._kept_for: tuple[Source, ...] = ()

    def host(self, size: int) -> Tensor:
        """``size`` bytes of host memory, the same every time."""
        if len(self._host) < size:
            self._host = torch.empty(size, dtype=torch.uint8, pin_memory=self._pin)
        return self._host[:size]

    def read(self, sources: tuple[Source, ...], start: int, count: int) -> list[Tensor]:
        """The inputs on the device, in their own dtypes."""
        if self._kept_for is not sources:
            self._kept, self._kept_for = {}, sources
        if start in self._kept and len(self._kept[start][0]) == count:
            return self._kept[start]
        inputs = [self._read_one(source, start, count) for source in sources]
        if self._pin and self._has_room(count):
            self._kept[start] = inputs
        return inputs

    def _read_one(self, source: Source, start: int, count: int) -> Tensor:
        host = self.host(count * source.itemsize)
        source.read(host.numpy().data, start)
        return torch.empty_like(host, device=self.device).copy_(host).view(TORCH_DTYPES[source.dtype])

    def _has_room(self, count: int) -> bool:
        """Room is left for this chunk's fp32 copies of several inputs and for what the operations need."""
        free, total = torch.cuda.mem_get_info(self.device)
        return bool(free > total // 4 + 256 * count)
