"""The README.md of an adapter that was made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from app.adapting.methods import METHODS
from app.adapting.wanted import How
from app.planning.adapter_config import read_settings
from app.planning.card import is_on_hub, plain
from app.planning.facts import ModelFacts
from app.planning.licences import common_licence
from app.recipe.references import is_hub_id, parse_reference

_LIMITS = (
    "This adapter was not trained after it was made, and nothing is claimed here about what it can do: try it on your "
    "own task before relying on it. The licences of what it was made from go on applying."
)


def merged_card(name: str, adapters: Sequence[ModelFacts], how: How) -> str:
    """``name`` titles it. A table of the adapters with their weights, and the method."""
    rows = [
        f"| {plain(one.ref.partition('@')[0])} | {_version(one)} | {weight:g} | {plain(one.licence or 'not known')} |"
        for one, weight in zip(adapters, how.weights, strict=True)
    ]
    bases = dict.fromkeys(read_settings(one).base for one in adapters)
    body = [
        f"A LoRA adapter merged from {len(adapters)} adapters, made with Weightloom.",
        "\n".join(["| adapter | version | weight | licence |", "|---|---|--:|---|", *rows]),
        f"Method: **{how.method}**{''.join(_settings(how))}.",
    ]
    hub = [base for base in bases if base and is_hub_id(base)]
    parents = [parse_reference(one.ref).name for one in adapters if is_on_hub(parse_reference(one.ref), one)]
    licence = common_licence({one.ref: one for one in adapters})
    return _page(name, {"base_model": hub + parents, "base_model_relation": "merge"}, licence, body)


def _settings(how: How) -> Iterator[str]:
    """What others need to make it again."""
    method = METHODS[how.method]
    if how.rank is not None:
        yield f", rank {how.rank}"
    if method.dense:
        yield f", density {how.density:g}"
    if how.factor != 1:
        yield f", times {how.factor:g}"
    if how.normalize:
        yield ", divided by the weights"
    if method.random:
        yield f", seed {how.seed}"


def extracted_card(name: str, tuned: ModelFacts, base: ModelFacts, rank: int) -> str:
    """``rank`` is the largest asked for."""
    rows = [
        f"| {plain(one.ref.partition('@')[0])} | {_version(one)} | {plain(one.licence or 'not known')} |"
        for one in (tuned, base)
    ]
    body = [
        f"What {plain(tuned.ref)} has learnt beyond {plain(base.ref)}, as a LoRA adapter of rank {rank} at most.",
        "Made with Weightloom from the two models' weights.",
        "\n".join(["| model | version | licence |", "|---|---|---|", *rows]),
    ]
    ref = parse_reference(base.ref)
    hub = [ref.name] if is_on_hub(ref, base) else []
    licence = common_licence({one.ref: one for one in (tuned, base)})
    return _page(name, {"base_model": hub, "base_model_relation": "adapter"}, licence, body)


def _page(name: str, origin: dict[str, Any], licence: str | None, body: Sequence[str]) -> str:
    front: dict[str, Any] = dict(origin) if origin["base_model"] else {}
    front["library_name"] = "peft"
    if licence:
        front["license"] = licence
    front["tags"] = ["lora", "weightloom"]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=False, width=10_000)
    return f"---\n{head}---\n\n" + "\n\n".join([f"# {plain(name) or 'Adapter'}", *body, _LIMITS]) + "\n"


def _version(facts: ModelFacts) -> str:
    return f"`{facts.commit}`" if facts.commit else "a local folder"
