"""Reading ``tokenizer:`` and the older ``tokenizer_source:``."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from app.recipe.findings import Finding, Refused, did_you_mean, refuse
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef, TokenizerSpec, TokenRule, TokenSource

LARGEST_MULTIPLE = 1 << 16
"""What rows are rounded up to is made whole in memory and on the disk."""
_KINDS = ("model_token", "zero")


def read_tokenizer(raw: dict[str, Any], findings: list[Finding]) -> TokenizerSpec | None:
    """The tokenizer block of a document, None if there is none or it is wrong (then with a finding)."""
    try:
        if raw.get("tokenizer") is not None and raw.get("tokenizer_source") is not None:
            raise refuse("two-tokenizers", "tokenizer_source", "Give tokenizer or tokenizer_source, not both.", "")
        if raw.get("tokenizer_source") is not None:
            return TokenizerSpec(_source(raw["tokenizer_source"], "tokenizer_source"), legacy=True)
        if raw.get("tokenizer") is not None:
            return _block(raw["tokenizer"])
    except Refused as problem:
        findings.extend(problem.findings)
    return None


def _source(raw: Any, where: str) -> str | ModelRef:
    return str(raw) if raw in ("union", "base") else parse_reference(str(raw), where)


def _block(raw: Any) -> TokenizerSpec:
    if not isinstance(raw, dict):
        raise refuse(
            "bad-tokenizer", "tokenizer", "The tokenizer block is a list of key: value.", "Write source: base."
        )
    _only(raw, ("source", "tokens", "pad_to_multiple_of"), "tokenizer")
    pad = raw.get("pad_to_multiple_of")
    if pad is not None and (type(pad) is not int or not 1 <= pad <= LARGEST_MULTIPLE):
        text = f"This must be a whole number from 1 to {LARGEST_MULTIPLE}."
        raise refuse("bad-value", "tokenizer.pad_to_multiple_of", text, "Usual are 8, 64 and 128.")
    tokens = raw.get("tokens") or {}
    if not isinstance(tokens, dict):
        raise refuse("bad-tokenizer", "tokenizer.tokens", "Tokens are names, each with a rule.", "")
    return TokenizerSpec(
        source=_source(raw.get("source", "union"), "tokenizer.source"),
        tokens=MappingProxyType({name: _rule(rule, f"tokenizer.tokens.{name}") for name, rule in tokens.items()}),
        pad_to_multiple_of=pad,
    )


def _rule(raw: Any, where: str) -> TokenRule:
    if raw is None:
        return TokenRule()
    if not isinstance(raw, dict):
        raise refuse("bad-tokenizer", where, "A token's rule has source and force.", "")
    _only(raw, ("source", "force"), where)
    source, force = raw.get("source"), raw.get("force") or False
    if not isinstance(force, bool):
        raise refuse("bad-value", f"{where}.force", "This must be true or false.", "Write force: true.")
    return TokenRule(None if source is None else _token_source(source, f"{where}.source"), force)


def _token_source(raw: Any, where: str) -> TokenSource:
    if not isinstance(raw, dict):
        return TokenSource("model", parse_reference(str(raw), where))
    kind = raw.get("kind")
    if kind not in _KINDS:
        raise refuse("bad-tokenizer", where, f"The kind of a token's source is one of: {', '.join(_KINDS)}.", "")
    if kind == "zero":
        return TokenSource("zero")
    token, token_id = raw.get("token"), raw.get("token_id")
    if raw.get("model") is None or (token is None) == (token_id is None):
        raise refuse("bad-tokenizer", where, "A model_token needs a model and either token or token_id.", "")
    if token is not None and not isinstance(token, str):
        raise refuse("bad-value", f"{where}.token", "This must be text.", 'Put a number into quotes: "5".')
    if token_id is not None and (type(token_id) is not int or token_id < 0):
        raise refuse("bad-value", f"{where}.token_id", "This must be a whole number, 0 or more.", "")
    return TokenSource("model_token", parse_reference(str(raw["model"]), where), token, token_id)


def _only(raw: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in raw:
        if key not in known:
            fix = did_you_mean(key, known) or f"Known: {', '.join(known)}."
            raise refuse("unknown-key", f"{where}.{key}", f'There is no key "{key}" here.', fix)
