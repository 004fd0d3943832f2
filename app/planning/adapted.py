"""A parent's tensor with a LoRA adapter on it: what is read from which file, and how the two become one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.planning.facts import TensorFacts


@dataclass(frozen=True, slots=True)
class LowRank:
    """What LoRA adds: ``scale · up @ down`` (arXiv 2106.09685), all tensors of the adapter's file.

    ``down`` is [rank, inputs...], ``up`` [outputs, rank] (with further sizes of 1 for convolutions). Without ``down``,
    ``up`` itself is added, scaled: a bias. ``transposed``: the parent's matrix is [inputs, outputs], so that the
    transpose is added. ``magnitude`` [outputs]: the length that each output's weights have in the end (DoRA, arXiv
    2402.09353).

    ``experts``: the factors of so many matrices lie in one, as PEFT (``ParamWrapper``) has them: row e·rank + r of
    ``down`` [experts·rank, inputs] and column r·experts + e of ``up`` [outputs, rank·experts] belong to expert e. The
    parent's tensor is the matrix of ``expert``, or with three dimensions those of all experts, one after the other.
    0 for the factors of a single matrix.
    """

    up: TensorFacts
    scale: float
    down: TensorFacts | None = None
    transposed: bool = False
    magnitude: TensorFacts | None = None
    experts: int = 0
    expert: int = 0

    @property
    def rank(self) -> int:
        """Columns of ``up`` that make a matrix; 1 for a bias."""
        return 1 if self.down is None else self.down.shape[0] // max(1, self.experts)

    @property
    def tensors(self) -> Iterator[TensorFacts]:
        for one in (self.up, self.down, self.magnitude):
            if one is not None:
                yield one


@dataclass(frozen=True, slots=True)
class AdaptedTensor(TensorFacts):
    """A tensor of a model with an adapter on it.

    ``name``, ``dtype`` and ``shape`` are what it counts as; ``file``, ``begin`` and ``end`` the parent's own numbers.
    ``instead``: a tensor of the adapter that is taken instead of those; ``added`` comes on top.
    """

    instead: TensorFacts | None = None
    added: LowRank | None = None

    @property
    def plain(self) -> bool:
        return False

    @property
    def stored(self) -> str:
        if self.added is not None:
            return "F32"
        return self.instead.dtype if self.instead is not None else self.dtype

    @property
    def own(self) -> TensorFacts | None:
        """The parent's tensor that is read; None when the adapter brings all of it."""
        if self.instead is not None:
            return None
        return TensorFacts(self.name, self.dtype, self.shape, self.file, self.begin, self.end)

    @property
    def of_adapter(self) -> tuple[TensorFacts, ...]:
        """The adapter's tensors that are read."""
        added = tuple(self.added.tensors) if self.added is not None else ()
        return added if self.instead is None else (self.instead, *added)
