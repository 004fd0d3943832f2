"""Tensors with a row for each token, in the order of the result's vocabulary."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import prod

from app.planning.facts import DTYPE_BYTES, MERGEABLE, TensorFacts
from app.planning.layers import position
from app.planning.module_names import EMBEDDINGS, HEAD, outside_layers
from app.planning.parents import Parents, says_untied
from app.planning.plan import Alignment, Input, LaidOutTensor, MadeTensor, Step
from app.planning.steps import widest
from app.planning.vocabulary import Vocabulary

_NOT_TOKENS = ("pos", "wpe", "token_type", "segment")
"""In the names of embeddings whose rows are no tokens."""


def vocabulary_tensors(parents: Parents) -> frozenset[str]:
    """Names of the tensors with a row for each token in every parent that has them: embedding, head, a head's bias."""
    names = {name for facts in parents.facts for name in facts.tensors}
    return frozenset(name for name in names if _of_tokens(name) and _everywhere(name, parents))


def aligned_parents(parents: Parents, names: frozenset[str], rows: int) -> Parents:
    """The parents as they look once those tensors have ``rows`` rows."""
    facts = tuple(
        replace(
            one,
            tensors={
                name: replace(tensor, shape=(rows, *tensor.shape[1:])) if name in names else tensor
                for name, tensor in one.tensors.items()
            },
        )
        for one in parents.facts
    )
    return Parents(parents.refs, facts)


@dataclass(slots=True)
class Aligner:
    """Makes steps read aligned matrices. ``parents`` are the real ones."""

    parents: Parents
    vocabulary: Vocabulary
    names: frozenset[str]
    made: dict[tuple[str, int], Alignment | None] = field(default_factory=dict)

    def align(self, steps: Iterable[Step]) -> list[Step]:
        return [self._step(step) if step.name in self.names else step for step in steps]

    @property
    def alignments(self) -> tuple[Alignment, ...]:
        return tuple(one for one in self.made.values() if one is not None)

    def _step(self, step: Step) -> Step:
        inputs = tuple(self._input(step, one) for one in step.inputs)
        return replace(step, inputs=inputs, base=self._input(step, step.base) if step.base else None)

    def _input(self, step: Step, one: Input) -> Input:
        origin = self.parents.facts[one.parent].tensors[one.tensor.name]
        key = (step.name, one.parent)
        if key not in self.made:
            in_place = self._in_place(one.parent, origin)
            self.made[key] = None if in_place else self._alignment(step, one.parent, origin)
        made = self.made[key]
        return replace(one, tensor=origin if made is None else made.tensor)

    def _in_place(self, parent: int, origin: TensorFacts) -> bool:
        own = self.vocabulary.row_map(parent)
        in_file = origin.plain or isinstance(origin, MadeTensor)
        return in_file and origin.shape[0] == len(own) and all(row == number for number, row in enumerate(own))

    def _alignment(self, step: Step, parent: int, origin: TensorFacts) -> Alignment:
        own = self.vocabulary.row_map(parent)
        sources = self._sources(step, origin)
        fill = self.vocabulary.fill(parent, sources.keys())
        used = {source for rows in fill.values() for source, _ in rows or ()}
        sources = {source: tensor for source, tensor in sources.items() if source in used}
        dtypes = {origin.stored, *(tensor.stored for tensor in sources.values())}
        if any(rows is None or len(rows) > 1 for rows in fill.values()):
            dtypes.add("F32")
        dtype = widest(dtypes)
        shape = (len(own), *origin.shape[1:])
        digest = hashlib.sha256(own.tobytes() + repr((origin, fill, sources)).encode()).hexdigest()[:16]
        size = prod(shape) * DTYPE_BYTES[dtype]
        file = f"{len(self.made)}-{digest}.rows"
        tensor = LaidOutTensor(origin.name, dtype, shape, file, 0, size, Input(parent, origin))
        return Alignment(parent, tensor, own, fill, {source: Input(source, one) for source, one in sources.items()})

    def _sources(self, step: Step, like: TensorFacts) -> dict[int, TensorFacts]:
        """Every parent's matrix that rows may be taken from: the tensor of the same name, or a tied embedding."""
        found = {one.parent: self.parents.facts[one.parent].tensors[one.tensor.name] for one in step.every_input}
        for parent, facts in enumerate(self.parents.facts):
            tensor = found.get(parent) or facts.tensors.get(step.name)
            if tensor is None and outside_layers(step.name) == HEAD and not says_untied(facts.config):
                tensor = self.parents.embeddings[parent]
            if tensor is not None and tensor.shape[1:] == like.shape[1:] and tensor.dtype in MERGEABLE:
                found[parent] = tensor
        return dict(sorted(found.items()))


def _of_tokens(name: str) -> bool:
    if position(name).layer is not None:
        return False
    kind = outside_layers(name)
    return kind == HEAD or (kind == EMBEDDINGS and not any(word in name.lower() for word in _NOT_TOKENS))


def _everywhere(name: str, parents: Parents) -> bool:
    """Whether the tensor has as many rows as the token embedding wherever there is one."""
    found = [
        (facts.tensors[name], embedding)
        for facts, embedding in zip(parents.facts, parents.embeddings, strict=True)
        if name in facts.tensors
    ]
    return all(
        embedding is not None and tensor.dtype in MERGEABLE and tensor.shape[:1] == embedding.shape[:1]
        for tensor, embedding in found
    )
