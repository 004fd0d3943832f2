"""The model's matrices with a row for each token, and the donor's that their new rows are compared in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from app.planning.alignment import vocabulary_tensors
from app.planning.facts import DTYPE_BYTES, MERGEABLE, ModelFacts, TensorFacts
from app.planning.module_names import HEAD, outside_layers
from app.planning.parents import Parents, says_tied, token_embedding
from app.planning.plan import Alignment, Input, LaidOutTensor
from app.planning.steps import widest
from app.recipe.schema import ModelRef
from app.transplant.matching import Match
from app.transplant.wanted import WantedTransplant

MODEL, DONOR = 0, 1
"""Places of the two among a plan's parents."""
_WAY = 1
"""Counts up when the same wish would give other rows than before."""


@dataclass(frozen=True)
class Matrix:
    """One of the model's, and the donor's of the same kind: its head for a head where it has one of its own, else its
    embedding. None where it has neither, or the tensor is a bias, whose numbers say nothing by themselves."""

    own: TensorFacts
    donor: TensorFacts | None


def matrices(model: ModelFacts, donor: ModelFacts) -> tuple[Matrix, ...]:
    """Everything in the model with a row for each token, the embedding first."""
    names = sorted(_of_tokens(model), key=lambda name: (outside_layers(name) == HEAD, name))
    return tuple(Matrix(model.tensors[name], _like(model, donor, model.tensors[name])) for name in names)


def _of_tokens(facts: ModelFacts) -> frozenset[str]:
    return vocabulary_tensors(Parents((ModelRef(facts.ref),), (facts,)))


def _like(model: ModelFacts, donor: ModelFacts, tensor: TensorFacts) -> TensorFacts | None:
    embedding = token_embedding(donor)
    if len(tensor.shape) != 2 or embedding is None or embedding.dtype not in MERGEABLE:
        return None
    if outside_layers(tensor.name) == HEAD and not says_tied(model.config) and not says_tied(donor.config):
        heads = (donor.tensors[name] for name in sorted(_of_tokens(donor)) if outside_layers(name) == HEAD)
        return next((one for one in heads if len(one.shape) == 2), embedding)
    return embedding


def laid_out(wanted: WantedTransplant, match: Match, model: ModelFacts, donor: ModelFacts) -> Iterator[Alignment]:
    """How each of the matrices comes to its new rows: the model's own in the donor's order, and gaps, whose filling is
    what counts where the approach finds nothing."""
    filling = () if wanted.approach == "zero" else None
    fill = {row: filling for row, own in enumerate(match.own) if own < 0}
    identity = [[(file.name, file.size, file.sha256, file.oid) for file in facts.files] for facts in (model, donor)]
    for number, one in enumerate(matrices(model, donor)):
        dtype = one.own.stored if wanted.approach == "zero" else widest({one.own.stored, "F32"})
        shape = (match.rows, *one.own.shape[1:])
        told = (_WAY, wanted.approach, wanted.k, one, model.commit, donor.commit, identity)
        digest = hashlib.sha256(match.own.tobytes() + repr(told).encode()).hexdigest()[:16]
        tensor = LaidOutTensor(
            one.own.name, dtype, shape, f"{number}-{digest}.rows", 0, prod(shape) * DTYPE_BYTES[dtype],
            Input(MODEL, one.own),
        )  # fmt: skip
        yield Alignment(MODEL, tensor, match.own, fill, _sources(wanted, one))


def _sources(wanted: WantedTransplant, one: Matrix) -> Mapping[int, Input]:
    return {DONOR: Input(DONOR, one.donor)} if wanted.by_donor and one.donor is not None else {}
