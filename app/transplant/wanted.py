"""What somebody wants: a model with another model's tokenizer, as immutable values and as YAML.

``read_transplant`` gives back what ``write_transplant`` was given; the result carries that text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from app.planning.chat_templates import BUILT_IN
from app.recipe.findings import Finding, Refused, did_you_mean, refuse
from app.recipe.references import parse_reference
from app.recipe.safe_yaml import load_documents
from app.recipe.schema import ModelRef
from app.recipe.writing import write_document

RECIPE_FILE = "tokenizer_transplant.yml"
APPROACHES: Mapping[str, str] = MappingProxyType(
    {
        "auto": "A new token is described by a few tokens that both vocabularies have, in the donor's embeddings, and "
        "put together of the same tokens in the model's (orthogonal matching pursuit); where a check shows that this "
        "tells no more than the mean of all rows, it is that mean.",
        "omp": "Orthogonal matching pursuit: a new token is described by a few tokens that both vocabularies have, in "
        "the donor's embeddings, and put together of the same tokens in the model's.",
        "nearest": "The weighted mean of the shared tokens that lie nearest to the new one in the donor's embeddings.",
        "subword": "The mean of the pieces that the model's own tokenizer cuts the new token's text into.",
        "mean": "The mean of all of the model's rows, the same for every new token.",
        "zero": "Zeros, for a model that is trained afterwards.",
    }
)
"""Where rows for tokens come from that the model does not have, each in a sentence."""
BY_DONOR = ("auto", "omp", "nearest")
"""Approaches that compare tokens in the donor's embeddings."""
K = 64
MOST_K = 512
TEMPLATES = ("donor", "model", *BUILT_IN)
_KEYS = ("model", "donor", "approach", "k", "chat_template")


@dataclass(frozen=True, slots=True)
class WantedTransplant:
    """``model`` keeps its weights and gets ``donor``'s tokenizer. ``k``: shared tokens that a new one is made of.
    ``chat_template``: the donor's, the model's, or a name of ``BUILT_IN``."""

    model: ModelRef
    donor: ModelRef
    approach: str = "auto"
    k: int = K
    chat_template: str = "donor"

    @property
    def by_donor(self) -> bool:
        """Whether new tokens are compared in the donor's embeddings, so that these are read."""
        return self.approach in BY_DONOR

    @property
    def pursued(self) -> bool:
        """Whether the comparing is by orthogonal matching pursuit."""
        return self.approach in ("auto", "omp")

    def parents(self) -> tuple[ModelRef, ModelRef]:
        return self.model, self.donor

    def renamed(self, names: Mapping[ModelRef, ModelRef]) -> WantedTransplant:
        return replace(self, model=names[self.model], donor=names[self.donor])

    def as_params(self) -> dict[str, Any]:
        told: dict[str, Any] = {"model": str(self.model), "donor": str(self.donor), "approach": self.approach}
        if self.by_donor:
            told["k"] = self.k
        return {**told, "chat_template": self.chat_template}

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> WantedTransplant:
        """Raises Refused with everything that is wrong."""
        problems: list[Finding] = [_unknown(str(key)) for key in params if key not in _KEYS]
        refs = {}
        for key in ("model", "donor"):
            try:
                refs[key] = _reference(params.get(key), key)
            except Refused as problem:
                problems.extend(problem.findings)
        approach, template = params.get("approach", "auto"), params.get("chat_template", "donor")
        k = params.get("k", K)
        problems += [*_one_of(approach, APPROACHES, "approach"), *_one_of(template, TEMPLATES, "chat_template")]
        if type(k) is not int or not 1 <= k <= MOST_K:
            problems.append(
                Finding("error", "bad-value", "k", f"k is a whole number from 1 to {MOST_K}.", f"{K} is usual.")
            )
        if problems:
            raise Refused(dict.fromkeys(problems))
        return cls(refs["model"], refs["donor"], str(approach), int(k), str(template))


def read_transplant(text: str) -> WantedTransplant:
    """Raises Refused with everything that is wrong."""
    documents = [one for one in load_documents(text) if one is not None]
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise refuse("not-a-transplant", "", "This is no recipe of a tokenizer's transplant.", "Name model: and donor:")
    return WantedTransplant.of_params(documents[0])


def write_transplant(wanted: WantedTransplant) -> str:
    """As YAML. ``read_transplant(write_transplant(wanted)) == wanted``, but for a ``k`` that has no meaning."""
    return write_document(wanted.as_params())


def _reference(raw: Any, key: str) -> ModelRef:
    if not isinstance(raw, str) or not raw.strip():
        raise refuse("missing-model", key, f"No {key} is named.", "Write a Hub id (owner/name) or a folder.")
    return parse_reference(raw, key)


def _one_of(value: Any, known: Mapping[str, str] | tuple[str, ...], key: str) -> list[Finding]:
    if isinstance(value, str) and value in known:
        return []
    fix = did_you_mean(str(value), known) or f"Known: {', '.join(known)}."
    return [Finding("error", "bad-value", key, f'"{str(value)[:40]}" is none that is known here.', fix)]


def _unknown(key: str) -> Finding:
    fix = did_you_mean(key, _KEYS) or f"Remove it. Known: {', '.join(_KEYS)}."
    return Finding("error", "unknown-key", key[:160], f'There is no key "{key[:60]}" here.', fix)
