"""What a back end offers to the methods: operations on one chunk of one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from worker.engine.dtypes import Array
from worker.engine.masks import ByRank, Cut, Mask
from worker.engine.sources import Source

Bench = Any
"""One thread's buffers, the back end's own. ``scratch`` is uint8 memory for reading through a file; ``kept``: how many
chunks' results stay valid."""

Chunk = Any
"""``count`` elements of every input from index ``start`` on, in a thread's buffers, and room for the result.

``unsound`` collects what the operations met: ``PARENT_UNSOUND`` and ``RESULT_UNSOUND``. A chunk and what was got from
it are valid until the thread fills the next one, but for its result, which is until it has filled ``kept`` more.
"""

Bits = Any
"""Bits of non-negative fp32 numbers, which sort like the numbers: [rows, count] or one row, where the back end
likes to keep them."""

Tallied = tuple[int, int, int, Array]
"""How many are above ``high``, at ``high``, at ``low``; and, uint32, those between, in order."""

PackedMasks = Any
Selection = Any


class Backend(Protocol):
    """The operations. Inputs are numbered as in ``Step.every_input``: the base first, when there is one.

    δᵢ = xᵢ − x₀ in fp32, x₀ being the base; masks, factors and weights have one entry for each input but the base.
    ``deltas`` says whether an operation works on the δᵢ. Operations write to the chunk's result unless they are said
    to return or add to something. Factors come in fp64 and are used in fp32; who gives an array to one operation
    leaves its values as they are until the pass is over.
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
        """y = Σ cᵢ xᵢ, or with ``deltas`` y = x₀ + Σ cᵢ δᵢ. ``coefficients`` [inputs]; with ``deltas`` c₀ is unused."""

    def gram(self, chunk: Chunk, sums: Array, deltas: bool) -> None:
        """Adds inner products to the upper triangle of ``sums`` fp64 [n, n]; with ``deltas`` n leaves out the base."""

    def masks(self, masks: Sequence[Mask], elements: int = 0) -> PackedMasks:
        """``masks`` in the form the following operations take. ``elements`` of the tensor: when ``sizes`` will see all
        of them, so that it may note down what is drawn."""

    def remember(self, masks: PackedMasks) -> None:
        """``sizes`` has seen all elements; what it noted down need not be drawn again."""

    def sizes(self, chunk: Chunk, masks: PackedMasks, sums: Array) -> None:
        """Adds Σ|δᵢ| and Σ|kept δᵢ| to ``sums`` fp64 [n, 2]."""

    def add_up(self, chunk: Chunk, masks: PackedMasks, factors: Array) -> None:
        """y = x₀ + Σ fᵢ · kept δᵢ."""

    def elect(
        self, chunk: Chunk, masks: PackedMasks, factors: Array, weights: Array, divide: bool, scale: float
    ) -> None:
        """y = x₀ + s · Σ fᵢ · kept δᵢ, of those with the sign of the sum of all (0: plus); divided by their Σ wᵢ."""

    def consent(
        self, chunk: Chunk, masks: PackedMasks, weights: Array, thresholds: Array, least: int, vote: bool,
        divide: bool, scale: float,
    ) -> None:  # fmt: skip
        """y = x₀ + s·m where at least ``least`` parents have |wᵢδᵢ| ≥ τᵢ|m − wᵢδᵢ|, else x₀. m = Σ wᵢ · kept δᵢ; with
        ``vote`` of those with the sign of the sum of all (0: plus), and then with ``divide`` divided by their Σ wᵢ."""

    def magnitudes(self, chunk: Chunk) -> Bits:
        """|δᵢ|, one row for each."""

    def variances(self, chunk: Chunk) -> Bits:
        """The population variance of the δᵢ at each element, [1, count]."""

    def to_numpy(self, bits: Bits) -> Array:
        """uint32, of the same shape."""

    def tally(self, bits: Bits, questions: Array) -> list[Tallied]:
        """For each (row, low, high) of int64 [questions, 3]."""

    def tally_changes(self, chunk: Chunk, questions: Array) -> list[Tallied]:
        """The same of |δᵢ|; row 0 is that of the first input after the base."""

    def histogram(self, bits: Bits, low_bits: int, prefix: int | None) -> Array:
        """Of one row: how many have each upper part; or each lower part, among those whose upper part is ``prefix``."""

    def draw_by_rank(self, chunk: Chunk, draws: ByRank, bits: Array, sums: Array) -> None:
        """DELLA's draw for whole rows: the element of rank r in its row, smallest |δᵢ| first and equal ones in order,
        is kept when the word at place r of the row is below the threshold of r.

        Sets the bits of what is kept in ``bits`` uint8 [n, ⌈elements/8⌉], and adds Σ|δᵢ| and Σ|kept δᵢ| to ``sums``
        fp64 [n, 2], both for the parents that ``draws`` names. The chunk starts at a multiple of 8.
        """

    def selection(self, cut: Cut | None, elements: int) -> Selection:
        """The elements of the tensor whose variance belongs to ``cut``, None for all, as the following take them."""

    def energies(self, chunk: Chunk, selection: Selection, sums: Array) -> None:
        """Adds Σ δᵢ² to ``sums`` fp64 [n], over the elements of the selection. It may note down which they are."""

    def agree(self, chunk: Chunk, selection: Selection, shares: Array) -> None:
        """y = x₀ + Σ aᵢδᵢ / max(Σ aᵢ, 1e-6), over the i whose sign is that of Σ δᵢ (0: plus); x₀ where not selected.

        ``energies`` has seen all elements before.
        """

    def count_changes(self, chunk: Chunk, epsilon: float, counts: Array) -> None:
        """Adds to ``counts`` int64 [2, n] how many |δᵢ| > epsilon there are: where i is the only one, and elsewhere."""

    def share_out(self, chunk: Chunk, epsilon: float, alone: Array) -> None:
        """y = x₀ + Σ δᵢ over |δᵢ| > epsilon: times ``alone[i]`` where i is the only one, elsewhere their mean."""

    def nearswap(self, chunk: Chunk, t: float, taken: Array) -> None:
        """y = w·x₁ + (1 − w)·x₀, w = min(t / max(|δ₁|, 1e-6), 1). ``taken`` fp64 [blocks]: gets Σ w of each block."""

    def importances(self, chunk: Chunk, width: int, divergences: Array) -> Bits:
        """|δ₁| · KL(softmax x₁ ‖ softmax x₀) along rows of ``width`` elements, [1, count]. The chunk has whole rows.

        ``divergences`` fp64 [rows of the tensor]: gets the second factor, worked out in fp64 with 1e-8 added to each
        probability.
        """

    def choose(self, chunk: Chunk, width: int, divergences: Array, limit: float, taken: Array) -> None:
        """y = x₁ where the importance by ``divergences`` is at least ``limit``, else x₀. The chunk has whole rows.

        ``taken`` int64 [rows of the tensor]: gets how many of each row are x₁.
        """

    def floats(self, chunk: Chunk) -> Array:
        """The inputs, fp32 [inputs, count]."""

    def put(self, chunk: Chunk, values: Array) -> None:
        """y = ``values`` [count]."""
