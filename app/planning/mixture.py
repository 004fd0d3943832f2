"""What tensors were mixed of, where only the weights themselves could tell: ``coefficients.json`` beside a result.

Some methods find the factors of their inputs in the weights, by the angles between them or by how large the changes
are. The engine keeps what it found, so that a page can show it and anybody can check it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from app.planning.pinning import published_names
from app.planning.plan import Input, LaidOutTensor, MadeTensor, Plan, Step
from app.planning.strict_json import BadJson, load_object

COEFFICIENTS_FILE = "coefficients.json"
LARGEST = 64 << 20
"""Bytes of such a file that are read; 18 771 tensors of three parents take 4 MB."""
TELLING = frozenset({"slerp", "nuslerp", "multislerp", "karcher", "model_stock", "sce", "nearswap", "arcee_fusion"})
"""Methods whose factors are known when a tensor is merged, and not before."""

By = Literal["tensor", "row", "column", "weight"]


@dataclass(frozen=True, slots=True)
class Mixture:
    """One tensor: ``coefficients``, one for each of ``Step.every_input``, such that it is the inputs' sum, each times
    its own.

    ``by`` tells what decides: the tensor; or each row or column by itself, and the coefficients are their means; or
    each single weight, and they are shares. ``angles``, in degrees from 0 to 180, are those between the inputs that
    decide (without a base all; with one their changes from it, but for slerp), for the pairs (0, 1), (0, 2), ...,
    (1, 2), ...; None where one of the two is zero. Nothing for rows, columns and weights.

    ``document`` is the name of the recipe's document that makes the tensor, empty for the result's own. Numbers have
    nine digits, as many as fp32 needs.
    """

    tensor: str
    coefficients: tuple[float, ...]
    angles: tuple[float | None, ...] = ()
    by: By = "tensor"
    document: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.document, self.tensor


Mixtures = Mapping[tuple[str, str], Mixture]
"""By document and tensor."""
NOTHING_FOUND: Mixtures = MappingProxyType({})


def tells(steps: Iterable[Step]) -> bool:
    """Whether any of the steps, or those within them, finds its factors in the weights."""
    return any(inner.method in TELLING for step in steps for inner in step.within)


def rows_of(mixtures: Iterable[Mixture]) -> list[dict[str, Any]]:
    """In JSON's types; ``mixtures_of`` reads them back."""
    return [_row(one) for one in mixtures]


def mixtures_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Mixture, ...]:
    """Raises ValueError, KeyError or TypeError for what no ``rows_of`` has made."""
    return tuple(_mixture(row) for row in rows)


def write_coefficients(plan: Plan, mixtures: Iterable[Mixture]) -> str:
    """The file's text: the parents as the published recipe calls them, and a line a tensor, in the result's order."""
    found = {one.key: one for one in mixtures}
    steps = {(document, step.name): step for document, step in every_step(plan)}
    lines = [
        json.dumps({**_row(found[key]), "method": step.method, "inputs": [_input(one) for one in step.every_input]})
        for key, step in steps.items()
        if key in found
    ]
    refs = plan.recipe.parents()
    names = published_names(plan.recipe, dict(zip(refs, plan.parents, strict=False)))
    parents = json.dumps([str(names[ref]) for ref in refs])
    return "\n".join(['{"format": 1,', f' "parents": {parents},', ' "tensors": [', ",\n".join(lines), "]}\n"])


def read_coefficients(raw: bytes) -> Mixtures:
    """What such a file tells; nothing at all when it cannot be read as one."""
    try:
        content = load_object(raw)
        return {one.key: one for one in mixtures_of(content["tensors"])} if content.get("format") == 1 else {}
    except (BadJson, ValueError, KeyError, TypeError):
        return {}


def _row(one: Mixture) -> dict[str, Any]:
    row: dict[str, Any] = {"tensor": one.tensor}
    if one.document:
        row["document"] = one.document
    if one.by != "tensor":
        row["by"] = one.by
    row["coefficients"] = list(one.coefficients)
    if one.angles:
        row["angles"] = list(one.angles)
    return row


def _mixture(row: Mapping[str, Any]) -> Mixture:
    coefficients = tuple(float(one) for one in row["coefficients"])
    by = row.get("by", "tensor")
    if by not in get_args(By):
        raise ValueError(by)
    angles = tuple(None if one is None else float(one) for one in row.get("angles", ()))
    return Mixture(str(row["tensor"]), coefficients, angles, by, str(row.get("document", "")))


def every_step(plan: Plan) -> Iterator[tuple[str, Step]]:
    """The steps, and those within them, each with the document that makes it: empty for the result's own."""
    for step in plan.steps():
        yield from _within("", step)


def mixture_of(step: Step, mixtures: Mixtures, document: str = "") -> Mixture | None:
    """What is known of a step, if it fits."""
    found = mixtures.get((document, step.name))
    return found if found is not None and len(found.coefficients) == len(step.every_input) else None


def document_of(one: Input) -> str:
    """The document whose tensor goes in, perhaps laid out anew; empty where it is a parent's own."""
    if isinstance(one.tensor, LaidOutTensor):
        return document_of(one.tensor.origin)
    return one.tensor.file if isinstance(one.tensor, MadeTensor) else ""


def _input(one: Input) -> int | str:
    """A parent by its place in the list of them, a document by its name."""
    return document_of(one) or one.parent


def _within(document: str, step: Step) -> Iterator[tuple[str, Step]]:
    yield document, step
    for one in step.every_input:
        if isinstance(one.tensor, MadeTensor):
            yield from _within(one.tensor.file, one.tensor.made_by)
