"""One-click fixes: what a finding asks for as an edit of the recipe, where that can be said exactly.

A fix carries its edit in full, so that pressing its button needs no second check, and it is applied to the text as it
was written, keys that nobody knows included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.recipe.catalogue import METHODS, Method
from app.recipe.documents import meant
from app.recipe.findings import Finding
from app.recipe.places import (
    MOST_EDITS,
    Document,
    Edit,
    apply_edits,
    documents_of,
    encode_edits,
    names_of,
    places_of,
    value_at,
)
from app.recipe.reading import DTYPES

PREFIX = "fix:"
_GUESS = re.compile(r'Did you mean "([^"]+)"\?')
_ADDRESS = re.compile(r"https?://[^/\s]+/([\w.-]+/[\w.-]+)(?:/tree/([\w.-]+))?/?", re.ASCII)
_WRITTEN_WITH = re.compile(r"Write ([^\s+]+)\+\S+\.")
_ANY_MODEL = "owner/model"
_DTYPE_WORDS = {
    "bf16": "bfloat16", "fp16": "float16", "half": "float16", "f16": "float16", "fp32": "float32", "f32": "float32",
    "float": "float32", "fp64": "float64", "double": "float64",
}  # fmt: skip
_BEYOND = re.compile(r"(?P<model>.+) has layers 0 to (?P<last>\d+); \[\d+, \d+\] goes beyond\.")
_NEEDS = re.compile(r'needs "(\w+)"')
_TOKEN_ROWS = re.compile(r"embed|lm_head|wte|embed_out")
_TUNED = re.compile(r"instruct|chat|(^|[-_./])(it|dpo|sft|orpo|code[r]?|math)($|[-_.])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fix:
    """A button: its words, and the edits that it makes in the document of that name, or in the recipe itself."""

    label: str
    edits: tuple[Edit, ...]
    document: str | None = None

    @property
    def action(self) -> str:
        """What the button posts."""
        return PREFIX + encode_edits(self.document, self.edits)


def fixes(text: str, findings: Sequence[Finding]) -> Mapping[Finding, tuple[Fix, ...]]:
    """The fixes of each finding about a recipe's text, in the document that it is about. Texts that are no YAML have
    none."""
    documents = documents_of(text)
    if not documents:
        return {}
    found = {finding: tuple(_in_its_document(finding, documents)) for finding in findings}
    return {finding: made for finding, made in found.items() if made}


def apply_fix(text: str, action: str) -> str:
    """The text after the edits of a button. Raises Refused for edits that do not fit it."""
    return apply_edits(text, action.removeprefix(PREFIX))


def _in_its_document(finding: Finding, documents: Sequence[Document]) -> Sequence[Fix]:
    make, names = _MAKERS.get(finding.code), names_of(documents)
    place = meant(finding.where, names) if make else None
    if make is None or place is None:
        return ()
    index, where = place
    made = make(replace(finding, where=where), documents[index])
    return [replace(one, document=names[index] if len(names) > 1 else None) for one in made]


def _method(document: Document) -> Method | None:
    return METHODS.get(str(document.get("merge_method")))


def _rename_or_drop(finding: Finding, _: Document) -> list[Fix]:
    """A key that is not known: the one that was meant, or none."""
    guess = _GUESS.search(finding.fix)
    if guess:
        return [Fix(f"Call it “{guess[1]}”", (("rename", finding.where, guess[1]),))]
    return _drop(finding, _)


def _drop(finding: Finding, _: Document) -> list[Fix]:
    return [Fix("Remove it", (("drop", finding.where),))]


def _known_method(finding: Finding, document: Document) -> list[Fix]:
    guess = _GUESS.search(finding.fix)
    name = guess[1] if guess else "" if "merge_method" in document else "linear"
    return [Fix(f"Use {METHODS[name].title}", (("set", "merge_method", name),))] if name in METHODS else []


def _known_dtype(finding: Finding, document: Document) -> list[Fix]:
    written = str(document.get(finding.where, "")).lower().removeprefix("torch.")
    guess = _GUESS.search(finding.fix)
    name = _DTYPE_WORDS.get(written) or (guess[1] if guess else "")
    return [Fix(f"Use {name}", (("set", finding.where, name),))] if name in DTYPES else []


def _half(_: Finding, __: Document) -> list[Fix]:
    return [Fix("Set bfloat16", (("set", "dtype", "bfloat16"),))]


def _missing_parameter(finding: Finding, document: Document) -> list[Fix]:
    """The default, or the middle of the slider, as the form would start with."""
    needs, method = _NEEDS.search(finding.text), _method(document)
    parameter = method.parameter(needs[1]) if needs and method else None
    if parameter is None:
        return []
    value = parameter.default if parameter.default is not None else round((parameter.low + parameter.high) / 2, 6)
    return [Fix(f"Set {parameter.name}: {value:g}", (("set", f"{finding.where}.{parameter.name}", value),))]


def _into_range(finding: Finding, document: Document) -> list[Fix]:
    name = re.search(r"parameters\.(\w+)", finding.where)
    method = _method(document)
    parameter = method.parameter(name[1]) if name and method else None
    value = value_at(document, finding.where)
    if parameter is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return []
    try:
        number = float(value)
    except ValueError:
        return []
    low, high = parameter.minimum, parameter.maximum
    near = high if high is not None and number > high else low
    return [] if near is None else [Fix(f"Set {near:g}", (("set", finding.where, near),))]


def _one_value(finding: Finding, document: Document) -> list[Fix]:
    """The first anchor of a curve where none is possible."""
    value = value_at(document, finding.where)
    first = value[0] if isinstance(value, list) and value else None
    if not isinstance(first, bool | int | float):
        return []
    return [Fix(f"Keep only {str(first).lower()}", (("set", finding.where, first),))]


def _suggested_base(_: Finding, document: Document) -> list[Fix]:
    """The parent that is not called after a fine-tuning, if there is exactly one; else each of at most three."""
    names = _models(document)
    plain = [name for name in names if not _TUNED.search(name)]
    offered = plain if len(plain) == 1 else names if len(names) <= 3 else []
    return [Fix(f"Take {name}", (("set", "base_model", name),)) for name in offered]


def _put_on_a_model(finding: Finding, document: Document) -> list[Fix]:
    """An adapter behind the model that it was made for, or behind each of at most three of the recipe's."""
    adapter, said = finding.where, _WRITTEN_WITH.fullmatch(finding.fix)
    places = places_of(document, adapter)
    if said is None or not 0 < len(places) <= MOST_EDITS:
        return []
    models = [name for name in _models(document) if name != adapter]
    offered = [said[1]] if said[1] != _ANY_MODEL else models if len(models) <= 3 else []
    return [
        Fix(f"Put it on {name}", tuple(("set", place, f"{name}+{adapter}") for place in places)) for name in offered
    ]


def _models(document: Document) -> list[str]:
    """The base and the models that a document names, each once and without adapters."""
    models = document.get("models")
    named = [one.get("model") for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    texts = [one for one in (document.get("base_model"), *named) if isinstance(one, str)]
    return list(dict.fromkeys(one.partition("+")[0] for one in texts))


def _one_tokenizer_key(_: Finding, __: Document) -> list[Fix]:
    return [Fix("Keep the tokenizer block", (("drop", "tokenizer_source"),))]


def _join_vocabularies(finding: Finding, document: Document) -> list[Fix]:
    if "tokenizer" in document or "tokenizer_source" in document:
        return []
    if finding.code == "shape-mismatch" and not _TOKEN_ROWS.search(finding.where):
        return []
    return [
        Fix("Join the vocabularies", (("set", "tokenizer_source", "union"),)),
        Fix("Keep the base's", (("set", "tokenizer_source", "base"),)),
    ]


def _cut_layers(finding: Finding, document: Document) -> list[Fix]:
    """All sources of the slice cut by as much as this one goes beyond its model."""
    said = _BEYOND.fullmatch(finding.text)
    sources = value_at(document, f"{finding.where}.sources")
    if said is None or not isinstance(sources, list):
        return []
    ranges = [_range(one) for one in sources]
    over = max((one[1] for one, source in zip(ranges, sources, strict=True) if _is(source, said["model"])), default=0)
    cut = over - int(said["last"]) - 1
    if cut <= 0 or any(one[1] - cut <= one[0] for one in ranges):
        return []
    edits = tuple(
        ("set", f"{finding.where}.sources[{index}].layer_range", [one[0], one[1] - cut])
        for index, one in enumerate(ranges)
    )
    return [Fix(f"End at layer {int(said['last'])}", edits)]


def _range(source: Any) -> list[int]:
    """``[first, end]`` of a source; zeros when it has none."""
    found = source.get("layer_range") if isinstance(source, dict) else None
    whole = isinstance(found, list) and len(found) == 2 and all(type(one) is int for one in found)
    return list(found) if whole and found else [0, 0]


def _is(source: Any, model: str) -> bool:
    return isinstance(source, dict) and str(source.get("model")) == model


def _hub_id(finding: Finding, document: Document) -> list[Fix]:
    """The id in the address of a model's page."""
    value = value_at(document, finding.where)
    address = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if address is None:
        return []
    name = address[1] + (f"@{address[2]}" if address[2] else "")
    return [Fix(f"Use {name}", (("set", finding.where, name),))]


_MAKERS: Mapping[str, Callable[[Finding, Document], Sequence[Fix]]] = {
    "unknown-key": _rename_or_drop,
    "unknown-parameter": _rename_or_drop,
    "unused-parameter": _drop,
    "no-effect": _drop,
    "bad-seed": _drop,
    "unknown-method": _known_method,
    "missing-method": _known_method,
    "unknown-dtype": _known_dtype,
    "dtypes-differ": _half,
    "missing-parameter": _missing_parameter,
    "out-of-range": _into_range,
    "no-curve": _one_value,
    "missing-base": _suggested_base,
    "adapter-alone": _put_on_a_model,
    "two-tokenizers": _one_tokenizer_key,
    "tokenizers-differ": _join_vocabularies,
    "shape-mismatch": _join_vocabularies,
    "layer-range": _cut_layers,
    "bad-reference": _hub_id,
}
