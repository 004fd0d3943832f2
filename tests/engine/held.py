"""Sources in memory, for looking at single operations of a back end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Held:
    """A source in memory, fp32."""

    values: np.ndarray
    dtype: str = "F32"
    itemsize: int = 4

    def read(self, into: memoryview, start: int) -> None:
        raw = self.values.ravel()[start:].view(np.uint8)
        into[:] = raw[: len(into)].data
