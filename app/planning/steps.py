"""From a wanted tensor to a step: whose tensors really go in, with which values, in which dtype."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.planning.facts import MERGEABLE, TensorFacts
from app.planning.fitting import size
from app.planning.groups import Member
from app.planning.layers import Structure
from app.planning.ledger import TENSORS, Ledger
from app.planning.module_names import HEAD, outside_layers
from app.planning.outline import Kept, Wanted
from app.planning.parents import Parents, says_untied
from app.planning.plan import Input, Step, Values
from app.planning.values import check_values, parent_values, tensor_values
from app.recipe.catalogue import Method
from app.recipe.findings import Finding

COPY = "copy"
_BYTES = ("I8", "U8")


@dataclass(frozen=True, slots=True)
class _Part:
    """A member with its tensor."""

    member: Member
    tensor: TensorFacts


@dataclass(frozen=True, slots=True)
class _Present:
    """Who has a wanted tensor: the inputs, the base if the method wants one, and the parents that lack it."""

    inputs: tuple[_Part, ...]
    base: _Part | None
    absent: tuple[int, ...]

    @property
    def every(self) -> tuple[_Part, ...]:
        return self.inputs if self.base is None else (self.base, *self.inputs)


class StepMaker:
    """Makes the steps of one plan. What is wrong or noteworthy goes into ``ledger``."""

    def __init__(self, parents: Parents, method: Method, dtype: str | None) -> None:
        self.parents = parents
        self.method = method
        self.dtype = dtype
        self.ledger = Ledger()

    def step(self, wanted: Wanted) -> Step | None:
        """None when the tensor is left out or cannot be made; the ledger says why."""
        present = self._present(wanted)
        if not present.every or not self._same_shape(wanted, present.every):
            return None
        if any(part.tensor.dtype not in MERGEABLE for part in present.every):
            return self._not_weights(wanted, present.every)
        single, allowed = self._resolve_absence(wanted, present)
        if single is not None:
            return self._single(wanted, single)
        return self._merged(wanted, present) if allowed else None

    def keep(self, kept: Kept, structure: Structure) -> Iterator[Step]:
        """Tensors taken over as they are, since no module of the recipe speaks of them."""
        who = self.parents.name(kept.parent)
        for name in kept.names:
            text = f"No module holds {TENSORS}: taken from {who} unchanged."
            self.ledger.note(Finding("info", "kept", who, text), name)
            member = Member(kept.parent, name)
            wanted = Wanted(name, (member,), None, (), 0.0, structure.place(name).layer)
            yield self._single(wanted, _Part(member, self.parents.facts[kept.parent].tensors[name]))

    def _present(self, wanted: Wanted) -> _Present:
        found = {
            (member.parent, member.name): self.parents.facts[member.parent].tensors.get(member.name)
            for member in wanted.everyone
        }
        if wanted.layer is None and outside_layers(wanted.name) == HEAD:
            shapes = {tensor.shape for tensor in found.values() if tensor is not None}
            found = {key: tensor or self._stand_in(*key, shapes) for key, tensor in found.items()}
        parts = [
            _Part(member, tensor)
            for member in wanted.everyone
            if (tensor := found[member.parent, member.name]) is not None
        ]
        base = parts.pop(0) if parts and parts[0].member is wanted.base else None
        absent = [member.parent for member in wanted.members if found[member.parent, member.name] is None]
        return _Present(tuple(parts), base, tuple(dict.fromkeys(absent)))

    def _stand_in(self, parent: int, name: str, shapes: set[tuple[int, ...]]) -> TensorFacts | None:
        """The embedding matrix of a parent whose head is tied to it."""
        embedding = self.parents.embeddings[parent]
        if embedding is None or embedding.shape not in shapes or says_untied(self.parents.facts[parent].config):
            return None
        who = self.parents.name(parent)
        text = f"{who} has no head of its own (tied embeddings): its embedding stands in for {TENSORS}."
        self.ledger.note(Finding("info", "tied-head", who, text), name)
        return embedding

    def _same_shape(self, wanted: Wanted, parts: Sequence[_Part]) -> bool:
        first = parts[0]
        for part in parts[1:]:
            if part.tensor.shape != first.tensor.shape:
                self.ledger.note(self._mismatch(first, part), wanted.name, wanted.alike)
                return False
        return True

    def _mismatch(self, first: _Part, other: _Part) -> Finding:
        a, b = (self.parents.name(part.member.parent) for part in (first, other))
        mine, theirs = first.tensor.shape, other.tensor.shape
        if len(mine) == len(theirs) and mine[1:] == theirs[1:] and self._is_vocabulary(first):
            return Finding(
                "error", "shape-mismatch", "", f"{TENSORS}: {mine[0]} rows in {a}, {theirs[0]} in {b}. Their "
                "vocabularies differ in size.",
                "Join the vocabularies with tokenizer: {source: union}, use parents with the same vocabulary, or give "
                "one the other's tokenizer first: weightloom transplant-tokenizer.",
            )  # fmt: skip
        return Finding(
            "error", "shape-mismatch", "", f"{TENSORS}: {size(mine)} in {a}, {size(theirs)} in {b}.",
            "Merging needs equal shapes: use models of one architecture and size.",
        )  # fmt: skip

    def _is_vocabulary(self, part: _Part) -> bool:
        embedding = self.parents.embeddings[part.member.parent]
        return embedding is not None and part.tensor.shape[:1] == embedding.shape[:1]

    def _not_weights(self, wanted: Wanted, parts: Sequence[_Part]) -> Step | None:
        dtypes = {part.tensor.dtype for part in parts}
        who = self.parents.name(parts[0].member.parent)
        if len(dtypes) > 1:
            text = f"{TENSORS}: stored as {' and '.join(sorted(dtypes))} in different parents."
            fix = "Use parents that store it alike."
            self.ledger.note(Finding("error", "dtype-mismatch", "", text, fix), wanted.name, wanted.alike)
            return None
        tensor = parts[0].tensor
        if len(parts) > 1 and tensor.dtype in _BYTES and len(tensor.shape) > 1 and tensor.shape[0] > 1:
            text = f"{TENSORS}: {tensor.dtype}, as quantised weights are stored; not merged but taken from {who}."
            fix = "If these are weights, use the version of the models in BF16, F16 or F32."
            self.ledger.note(Finding("warning", "bytes-not-merged", who, text, fix), wanted.name, wanted.alike)
        elif len(parts) > 1:
            text = f"{TENSORS}: no weights but fixed numbers, taken from {who}."
            self.ledger.note(Finding("info", "not-merged", who, text), wanted.name, wanted.alike)
        return self._single(wanted, parts[0])

    def _resolve_absence(self, wanted: Wanted, present: _Present) -> tuple[_Part | None, bool]:
        """What to do when not everybody has the tensor: ``(copy this one, may be merged)``."""
        base, inputs = present.base, present.inputs
        if self.method.receives:
            return self._receive(wanted, present)
        pair = self.method.max_parents == 2
        if wanted.base is not None and base is None:
            if pair and len(inputs) == 1 and self.method.name != "nearswap":
                return self._only(inputs[0], wanted), False
            self._note(wanted, "warning", "left-out", wanted.base.parent,
                       "{who}, the base, lacks {tensors}: left out of the result.")  # fmt: skip
            return None, False
        if base is not None and not inputs:
            self._note(wanted, "info", "copied-from-base", base.member.parent,
                       "Only the base, {who}, has {tensors}: copied unchanged.")  # fmt: skip
            return base, False
        if not present.absent:
            return None, True
        if pair:
            return self._only(inputs[0], wanted), False
        if base is not None and self.method.name == "model_stock" and len(inputs) < 2:
            self._note(wanted, "warning", "too-few-parents", base.member.parent,
                       "Fewer than two parents have {tensors}: taken from the base, {who}.")  # fmt: skip
            return base, False
        for parent in present.absent:
            self._note(wanted, "warning", "partly-missing", parent,
                       "{who} lacks {tensors}: made from the other parents alone.")  # fmt: skip
        return None, True

    def _receive(self, wanted: Wanted, present: _Present) -> tuple[_Part | None, bool]:
        """The same where the first parent is what the others' changes are added to."""
        target = wanted.members[0]
        if not present.inputs or present.inputs[0].member is not target:
            self._note(wanted, "warning", "left-out", target.parent,
                       "{who}, which receives the changes, lacks {tensors}: left out of the result.")  # fmt: skip
            return None, False
        if present.base is None or len(present.inputs) == 1:
            self._note(wanted, "info", "kept", target.parent,
                       "No change is known for {tensors}: taken from {who} unchanged.")  # fmt: skip
            return present.inputs[0], False
        for parent in present.absent:
            self._note(wanted, "warning", "partly-missing", parent,
                       "{who} lacks {tensors}: made from the other parents alone.")  # fmt: skip
        return None, True

    def _only(self, part: _Part, wanted: Wanted) -> _Part:
        self._note(wanted, "warning", "copied-from-one", part.member.parent,
                   "Only {who} has {tensors}: copied unchanged.")  # fmt: skip
        return part

    def _note(self, wanted: Wanted, level: str, code: str, parent: int, text: str) -> None:
        who = self.parents.name(parent)
        finding = Finding("info" if level == "info" else "warning", code, who, text.replace("{who}", who))
        self.ledger.note(finding, wanted.name, wanted.alike)

    def _single(self, wanted: Wanted, part: _Part) -> Step:
        """One parent's tensor as it is, or only cast."""
        tensor = part.tensor
        dtype = self.dtype if self.dtype and tensor.dtype in MERGEABLE else tensor.dtype
        method = COPY if tensor.plain and dtype == tensor.dtype else "passthrough"
        inputs = (Input(part.member.parent, tensor),)
        return Step(wanted.name, dtype, tensor.shape, method, inputs, layer=wanted.layer)

    def _merged(self, wanted: Wanted, present: _Present) -> Step | None:
        shared = tensor_values(self.method, wanted, self.ledger)
        inputs = tuple(
            Input(part.member.parent, part.tensor, self._own_values(wanted, part.member)) for part in present.inputs
        )
        check_values(self.method, wanted, [(self.parents.name(one.parent), one.parameters) for one in inputs], shared,
                     self.ledger)  # fmt: skip
        if len(inputs) == 1 and _unchanged(self.method.name, inputs[0].parameters, shared):
            return self._single(wanted, present.inputs[0])
        base = Input(present.base.member.parent, present.base.tensor) if present.base else None
        dtype = self.dtype or widest(part.tensor.dtype for part in present.every)
        shape = present.every[0].tensor.shape
        return Step(wanted.name, dtype, shape, self.method.name, inputs, base, shared, wanted.layer)

    def _own_values(self, wanted: Wanted, member: Member) -> Values:
        return parent_values(self.method, wanted, member, self.parents.name(member.parent), self.ledger)


def widest(dtypes: Iterable[str]) -> str:
    """The dtype that holds every number of the given ones (two different half formats need F32)."""
    found = set(dtypes)
    for dtype in ("F64", "F32"):
        if dtype in found:
            return dtype
    return "F32" if len(found) > 1 else found.pop()


def _unchanged(method: str, own: Values, shared: Values) -> bool:
    """Whether a single input comes out as it went in."""
    if method == "passthrough":
        return own.get("scale", 1) == 1
    return method in ("karcher", "multislerp") or (method == "linear" and shared.get("normalize") is True)
