"""Several documents as one plan: what a later one takes from an earlier one's result is made when it is read.

A stage's result is to later documents a model like any other, with config, tokenizer and tensors; only that a tensor
holds the step that makes it. Its numbers are fp32, unless its document names a dtype: then they are rounded to that,
as if the result had been written and read again. Tensors a stage merely copies are its parents' own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from math import prod

from app.planning.carried import Carried
from app.planning.document import Document
from app.planning.facts import DTYPE_BYTES, FileFacts, ModelFacts
from app.planning.parents import Parents
from app.planning.plan import Alignment, Carry, Input, LaidOutTensor, MadeTensor, Step
from app.planning.steps import COPY
from app.recipe.documents import told
from app.recipe.findings import Finding, refuse
from app.recipe.schema import ModelRef

MOST_STEPS = 64
"""For one tensor, those that make its inputs included: documents that use each other twice over double the work."""


@dataclass(frozen=True)
class Fused:
    """A document's result in terms of the recipe's parents."""

    steps: tuple[Step, ...]
    donor: int
    beside: Carried
    alignments: tuple[Alignment, ...]
    findings: tuple[Finding, ...]


@dataclass
class Stages:
    """Takes the documents of a recipe one after the other. ``parents`` are all models that go in; ``facts`` those and
    the results so far."""

    parents: Parents
    facts: dict[ModelRef, ModelFacts] = field(init=False)
    _made: dict[ModelRef, Fused] = field(default_factory=dict)
    _alignments: list[Alignment] = field(default_factory=list)
    _findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.facts = dict(zip(self.parents.refs, self.parents.facts, strict=True))

    def add(self, document: Document, seed: int) -> None:
        """A stage; later documents may use it. Raises Refused when making it on the way would take too long."""
        ref = ModelRef(document.recipe.name or "")
        fused = self._fuse(document)
        self._made[ref] = fused
        self._alignments += fused.alignments
        self._findings += told(fused.findings, document.recipe)
        self.facts[ref] = self._result(document, fused, seed)

    def last(self, document: Document) -> Fused:
        """The recipe itself, with the alignments and findings of all documents."""
        fused = self._fuse(document)
        alignments = (*self._alignments, *fused.alignments)
        return replace(fused, alignments=alignments, findings=(*self._findings, *fused.findings))

    def _fuse(self, document: Document) -> Fused:
        def own(one: Input) -> Input:
            return self._input(one, document)

        steps = document.steps
        if document.alignments or document.parents.refs != self.parents.refs:  # else all is as it should be
            steps = tuple(
                replace(step, inputs=tuple(map(own, step.inputs)), base=own(step.base) if step.base else None)
                for step in steps
            )
        alignments = tuple(
            replace(
                one, parent=self._parent(one.parent, document), tensor=self._laid_out(one.tensor, document),
                sources={source: own(matrix) for source, matrix in one.sources.items()},
            )
            for one in document.alignments
        )  # fmt: skip
        donor, beside = self._parent(document.donor, document), self._beside(document)
        return Fused(steps, donor, beside, alignments, document.findings)

    def _parent(self, local: int, document: Document) -> int:
        """The place of a document's parent among the recipe's; for a stage, that of the parent with its config."""
        ref = document.parents.refs[local]
        return self._made[ref].donor if ref in self._made else self.parents.index(ref)

    def _input(self, one: Input, document: Document) -> Input:
        """An input of a document as one of the recipe's."""
        tensor = one.tensor
        if isinstance(tensor, MadeTensor) and tensor.made_by.method == COPY:
            (copied,) = tensor.made_by.inputs
            return Input(copied.parent, copied.tensor, one.parameters)
        if isinstance(tensor, LaidOutTensor):
            tensor = self._laid_out(tensor, document)
        return replace(one, parent=self._parent(one.parent, document), tensor=tensor)

    def _laid_out(self, tensor: LaidOutTensor, document: Document) -> LaidOutTensor:
        """In a file that no other document's has the name of."""
        file = f"{len(self._made)}-{tensor.file}"
        return replace(tensor, file=file, laid_out=self._input(tensor.origin, document))

    def _beside(self, document: Document) -> Carried:
        """The files beside the weights, those of a stage as the stage has them."""
        carries: list[Carry] = []
        texts: dict[str, str] = {}
        for one in document.beside.carries:
            stage = self._made.get(document.parents.refs[one.parent])
            if stage is None:
                carries.append(Carry(self._parent(one.parent, document), one.file))
            elif one.file in stage.beside.texts:
                texts[one.file] = stage.beside.texts[one.file]
            else:
                carries += [carry for carry in stage.beside.carries if carry.file == one.file]
        return Carried(tuple(carries), {**texts, **document.beside.texts})

    def _result(self, document: Document, fused: Fused, seed: int) -> ModelFacts:
        """What is known of a stage's result."""
        beside, name = fused.beside, document.recipe.name or ""
        carried = [(self.parents.facts[one.parent], one.file) for one in beside.carries]
        texts = {file: facts.texts[file] for facts, file in carried if file in facts.texts}
        known = {file.name: file for facts, wanted in carried for file in facts.files if file.name == wanted}
        files = {**known, **{file: FileFacts(file, len(text)) for file, text in beside.texts.items()}}
        tensors = {step.name: self._made_tensor(step, document, seed) for step in fused.steps}
        config = json.loads(beside.texts.get("config.json", "{}"))
        return ModelFacts(name, config, tensors, tuple(files.values()), texts={**texts, **beside.texts})

    def _made_tensor(self, step: Step, document: Document, seed: int) -> MadeTensor:
        recipe, only = document.recipe, step.inputs[0].tensor
        size = prod(step.shape) * DTYPE_BYTES[step.dtype]
        rounded = recipe.dtype is not None or recipe.out_dtype is not None
        if isinstance(only, MadeTensor) and not rounded and _is_handed_on(step):
            return replace(only, name=step.name, dtype=step.dtype, end=size)
        exact = step if rounded or step.method == COPY else replace(step, dtype="F32")
        made = MadeTensor(step.name, step.dtype, step.shape, recipe.name or "", 0, size, exact, seed)
        steps = 1 + sum(one.tensor.steps for one in step.every_input if isinstance(one.tensor, MadeTensor))
        if steps > MOST_STEPS:
            raise refuse(
                "too-many-stages", recipe.name or "", f"Each tensor would be merged {steps} times on the way, since "
                "documents use each other's results more than once.", "Merge and publish a stage first, then use it.",
            )  # fmt: skip
        return replace(made, steps=steps)


def _is_handed_on(step: Step) -> bool:
    return step.method == "passthrough" and step.inputs[0].parameters.get("scale", 1) == 1
