"""A recipe as mergekit YAML. ``read_recipe(write_recipe(recipe)).recipe == recipe``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from app.recipe.schema import (
    ModelRef,
    Module,
    Parameters,
    Recipe,
    Rule,
    Setting,
    Slice,
    Source,
    TokenizerSpec,
    TokenRule,
    TokenSource,
)


class _Dumper(yaml.SafeDumper):
    """Block style, except that lists of plain values stay on one line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    flow = all(not isinstance(item, (dict, list)) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


def _represent_text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    """What YAML takes for the end of a line, beside a plain one, only lasts in double quotes."""
    style = '"' if any(letter in data for letter in "\r\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)


def write_recipe(recipe: Recipe) -> str:
    """Canonical text: fixed key order, only what the recipe says; one YAML document for each stage and the recipe."""
    return "---\n".join(map(_document, recipe.documents))


def _document(recipe: Recipe) -> str:
    return write_document(as_plain(recipe))


def write_document(plain: Mapping[str, Any]) -> str:
    """A document of dicts, lists and scalars in the same style."""
    text: str = yaml.dump(
        plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False
    )
    return text


def as_plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe without its stages as dicts, lists and scalars, ready for YAML or JSON."""
    plain = {
        "name": recipe.name,
        "merge_method": recipe.merge_method,
        "base_model": _reference(recipe.base_model),
        "models": [_source(source) for source in recipe.models],
        "slices": [_slice(piece) for piece in recipe.slices],
        "modules": {name: _module(module) for name, module in recipe.modules.items()},
        "parameters": _parameters(recipe.parameters),
        **_tokenizer(recipe.tokenizer),
        "chat_template": recipe.chat_template,
        "head_curve": recipe.head_curve,
        "dtype": recipe.dtype,
        "out_dtype": recipe.out_dtype,
        "seed": recipe.seed,
    }
    return _without_empty(plain)


def _without_empty(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if value is not None and value != [] and value != {}}


def _reference(ref: ModelRef | None) -> str | None:
    return None if ref is None else str(ref)


def _source(source: Source) -> dict[str, Any]:
    return _without_empty(
        {
            "model": str(source.model),
            "layer_range": list(source.layers) if source.layers else None,
            "parameters": _parameters(source.parameters),
        }
    )


def _slice(piece: Slice) -> dict[str, Any]:
    return _without_empty(
        {
            "sources": [_source(source) for source in piece.sources],
            "base_model": _reference(piece.base_model),
            "parameters": _parameters(piece.parameters),
        }
    )


def _module(module: Module) -> dict[str, Any]:
    return _without_empty(
        {
            "models": [_source(source) for source in module.models],
            "slices": [_slice(piece) for piece in module.slices],
            "parameters": _parameters(module.parameters),
        }
    )


def _parameters(parameters: Parameters) -> dict[str, Any]:
    return {name: _setting(setting) for name, setting in parameters.items()}


def _setting(setting: Setting) -> Any:
    if len(setting) == 1 and setting[0].filter is None:
        return _value(setting[0])
    return [_without_none({"filter": rule.filter, "value": _value(rule)}) for rule in setting]


def _without_none(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if value is not None}


def _value(rule: Rule) -> Any:
    return list(rule.value) if isinstance(rule.value, tuple) else rule.value


def _tokenizer(spec: TokenizerSpec | None) -> dict[str, Any]:
    if spec is None:
        return {}
    if spec.legacy:
        return {"tokenizer_source": str(spec.source)}
    plain: dict[str, Any] = {"source": str(spec.source)}
    if spec.tokens:
        plain["tokens"] = {token: _token_rule(rule) for token, rule in spec.tokens.items()}
    if spec.pad_to_multiple_of is not None:
        plain["pad_to_multiple_of"] = spec.pad_to_multiple_of
    return {"tokenizer": plain}


def _token_rule(rule: TokenRule) -> dict[str, Any]:
    return _without_none(
        {"source": _token_source(rule.source) if rule.source else None, "force": True if rule.force else None}
    )


def _token_source(source: TokenSource) -> Any:
    if source.kind == "model":
        return str(source.model)
    return _without_none(
        {"kind": source.kind, "model": _reference(source.model), "token": source.token, "token_id": source.token_id}
    )
