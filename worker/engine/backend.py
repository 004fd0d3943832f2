"""What a back end offers to the methods: operations on one chunk of one tensor."""

from __future__ import annotations

from typing import Any, Protocol

from worker.engine.dtypes import Array
from worker.engine.sources import Source

Bench = Any
"""One thread's buffers, the back end's own. ``scratch`` is uint8 memory for reading through a file."""

Chunk = Any
"""``count`` elements of every input from index ``start`` on, in a thread's buffers, and room for the result.

``unsound`` collects what the operations met: ``PARENT_UNSOUND`` and ``RESULT_UNSOUND``.
"""


class Backend(Protocol):
    """The operations. Inputs are numbered as in ``Step.every_input``: the base first, when there is one.

    ``deltas`` means that input 0 is the base and the operation works on xᵢ − x₀ of the others, rounded to fp32.
    Operations write to the chunk's result unless they are said to return or add to something.
    """

    chunk: int
    """Elements of a chunk."""

    def bench(self) -> Bench:
        """Buffers for the calling thread."""

    def fill(self, bench: Bench, sources: tuple[Source, ...], start: int, count: int, dtype: str) -> Chunk:
        """Reads the inputs. ``dtype`` is that of the result."""

    def result(self, chunk: Chunk) -> memoryview:
        """The bytes of the chunk's result."""

    def combine(self, chunk: Chunk, coefficients: Array, deltas: bool) -> None:
        """y = Σ cᵢ xᵢ, or with ``deltas`` y = x₀ + Σ cᵢ (xᵢ − x₀). ``coefficients`` fp64 [inputs], used in fp32."""

    def gram(self, chunk: Chunk, sums: Array, deltas: bool) -> None:
        """Adds inner products to the upper triangle of ``sums`` fp64 [n, n]; with ``deltas`` n leaves out the base."""
