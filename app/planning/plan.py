"""The plan: a recipe resolved against real checkpoint headers. What the engine executes and the pages draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from app.planning.adapted import AdaptedTensor
from app.planning.facts import ModelFacts, TensorFacts
from app.recipe.findings import Finding
from app.recipe.schema import Recipe, Scalar

Values = Mapping[str, Scalar]
"""Parameters with a value for one tensor: curves, filters and defaults are already resolved."""

NO_VALUES: Values = MappingProxyType({})
RECIPE_FILE = "mergekit_config.yml"
"""Where the recipe of a merge is published with its result."""


@dataclass(frozen=True, slots=True)
class Input:
    """One tensor that goes in. ``parent`` indexes ``Plan.parents``."""

    parent: int
    tensor: TensorFacts
    parameters: Values = field(default_factory=lambda: NO_VALUES)

    @property
    def read(self) -> Iterator[Input]:
        """Itself, or the tensors of parents that it is made of."""
        if isinstance(self.tensor, MadeTensor):
            yield from self.tensor.made_by.read
        else:
            yield self

    @property
    def made_by(self) -> Iterator[Step]:
        """The steps that make it, none for a tensor that a parent has."""
        if isinstance(self.tensor, MadeTensor):
            yield from self.tensor.made_by.within


Rows = Sequence[int]
"""Rows of a parent's matrix by the result's row, -1 for none."""


@dataclass(frozen=True, slots=True)
class PreparedTensor(TensorFacts):
    """One that no parent has: its file is written into the folder of the unfinished result before the merge."""


@dataclass(frozen=True, slots=True)
class LaidOutTensor(PreparedTensor):
    """A matrix with a row for each token of the result, alone in its file. ``laid_out``: whose rows it has."""

    laid_out: Input | None = None

    @property
    def origin(self) -> Input:
        assert self.laid_out is not None  # noqa: S101  dataclasses want a default behind those of the base class
        return self.laid_out


@dataclass(frozen=True, slots=True)
class Alignment:
    """A parent's matrix laid out anew with a row for each token of the result, before the merge.

    Row ``own[row]`` of ``tensor.origin`` becomes row ``row``. Where that is -1, ``fill[row]`` are (source, row), the
    source a key of ``sources``: their mean, zeros when there are none, and the mean row of the origin for None. Origin
    and sources may be made on the way, or be laid out by an alignment before this one. ``parent`` is the one that
    inputs with this tensor name.
    """

    parent: int
    tensor: LaidOutTensor
    own: Rows = field(repr=False)
    fill: Mapping[int, tuple[tuple[int, int], ...] | None] = field(repr=False)
    sources: Mapping[int, Input]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The matrices that rows are taken from."""
        return (self.tensor.origin, *self.sources.values())


@dataclass(frozen=True, slots=True)
class Step:
    """One tensor of the output and how it is made.

    ``inputs`` are the parents' tensors in the recipe's order, without the base. ``base`` is set for the methods to
    which the base is special (deltas are taken from it; slerp and nearswap go from it); for linear, karcher and
    passthrough a listed base is an ordinary input. ``method`` is a catalogue name, or ``copy``: the single input's
    bytes are taken unchanged. ``dtype`` is a safetensors name. ``layer`` is the layer's index in the output,
    None for embeddings, final norm, head and the like.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    method: str
    inputs: tuple[Input, ...]
    base: Input | None = None
    parameters: Values = field(default_factory=lambda: NO_VALUES)
    layer: int | None = None

    @property
    def every_input(self) -> tuple[Input, ...]:
        """Base first, then the inputs."""
        return self.inputs if self.base is None else (self.base, *self.inputs)

    @property
    def alike(self) -> int:
        """How many steps it stands for: more than itself only in a check, where experts are folded."""
        return (self.base or self.inputs[0]).tensor.alike

    @property
    def read(self) -> Iterator[Input]:
        """The tensors of parents that the step comes down to: its inputs, or what they are made of."""
        return (part for one in self.every_input for part in one.read)

    @property
    def within(self) -> Iterator[Step]:
        """The step itself and those that make its inputs."""
        yield self
        for one in self.every_input:
            yield from one.made_by


@dataclass(frozen=True, slots=True)
class MadeTensor(TensorFacts):
    """A tensor of another document's result: made by ``step`` with ``seed`` when it is read, and never stored.

    ``dtype`` is what it counts as where no dtype is asked for; it is computed in that of ``step``. ``file`` names the
    document, ``steps`` counts all that go into it. ``Input.parent`` of such a tensor is the parent that the document
    has its config from.
    """

    step: Step | None = None
    seed: int = 0
    steps: int = 1

    @property
    def made_by(self) -> Step:
        assert self.step is not None  # noqa: S101  dataclasses want a default behind those of the base class
        return self.step

    @property
    def alike(self) -> int:
        return self.made_by.alike

    @property
    def plain(self) -> bool:
        return self.made_by.method == "copy" and self.made_by.inputs[0].tensor.plain

    @property
    def stored(self) -> str:
        return self.made_by.inputs[0].tensor.stored if self.made_by.method == "copy" else self.made_by.dtype


@dataclass(frozen=True, slots=True)
class Shard:
    """One safetensors file of the output, laid out before any weight is read.

    ``header`` is its complete beginning (8-byte length, JSON, padding); the tensor of ``steps[i]`` occupies
    ``[offsets[i], offsets[i] + nbytes)`` of the file, offsets being absolute.
    """

    file: str
    header: bytes
    size: int
    steps: tuple[Step, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Carry:
    """A file taken over unchanged from a parent (tokenizer, chat template, generation config)."""

    parent: int
    file: str


@dataclass(frozen=True)
class Plan:
    """Everything a merge will do. ``texts`` are files written as they stand here (config.json, the shard index, and
    under the name ``recipe_file`` the recipe as it is published); ``seed`` drives the random methods; ``alignments``
    come first, in this order, each making an input.

    ``parents`` are the recipe's, then the adapters on them; ``adapters`` says for a parent where its adapter stands.
    """

    recipe: Recipe
    parents: tuple[ModelFacts, ...]
    shards: tuple[Shard, ...]
    carries: tuple[Carry, ...] = ()
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    findings: tuple[Finding, ...] = ()
    alignments: tuple[Alignment, ...] = ()
    adapters: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    recipe_file: str = RECIPE_FILE

    @property
    def recipe_text(self) -> str:
        return self.texts[self.recipe_file]

    def steps(self) -> Iterator[Step]:
        for shard in self.shards:
            yield from shard.steps

    def every_step(self) -> Iterator[Step]:
        """The steps, those within them, and those that make what is laid out before."""
        for step in self.steps():
            yield from step.within
        for one in self.alignments:
            for source in one.inputs:
                yield from source.made_by

    @property
    def output_bytes(self) -> int:
        return sum(shard.size for shard in self.shards)

    @property
    def alignment_bytes(self) -> int:
        """Room for what lies on the disk only until the merge is done."""
        return sum(one.tensor.nbytes for one in self.alignments)

    @property
    def parameters(self) -> int:
        return sum(prod(step.shape) * step.alike for step in self.steps())

    @property
    def files_needed(self) -> tuple[tuple[int, str], ...]:
        """``(parent, file)`` of everything that must be on disk before the engine starts, each once.

        Of parents that are the same model (one plain, one with an adapter) the first is named.
        """
        wanted = [one for step in self.steps() for one in step.read]
        wanted += [one for alignment in self.alignments for source in alignment.inputs for one in source.read]
        wanted = [one for one in wanted if not isinstance(one.tensor, PreparedTensor)]
        files = [file for one in wanted for file in self._files(one.parent, one.tensor)]
        first = self._first_of_each()
        return tuple(
            dict.fromkeys(
                (first[parent], file) for parent, file in [*files, *((c.parent, c.file) for c in self.carries)]
            )
        )

    def _files(self, parent: int, tensor: TensorFacts) -> Iterator[tuple[int, str]]:
        if not isinstance(tensor, AdaptedTensor):
            yield from ((parent, file) for file in tensor.files)
            return
        if tensor.own is not None:
            yield parent, tensor.file
        yield from ((self.adapters[parent], one.file) for one in tensor.of_adapter)

    def _first_of_each(self) -> list[int]:
        places = [(facts.ref.partition("+")[0], facts.commit) for facts in self.parents]
        return [places.index(place) for place in places]
