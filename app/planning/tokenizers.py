"""Do two models cut text into the same tokens with the same ids? Told from their files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from app.planning.facts import ModelFacts
from app.recipe.counted import counted

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""Files that hold a vocabulary, the most telling first."""
Agreement = Literal["same", "different", "unknown"]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token -> id, with which of them were added on top of the trained ones."""

    tokens: Mapping[str, int]
    added: frozenset[str]


@lru_cache(maxsize=4)
def read_vocabulary(text: str) -> Vocabulary | None:
    """The vocabulary of a tokenizer.json; None when the text holds none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        return None
    tokens = _trained(model.get("vocab"))
    listed = content.get("added_tokens")
    added = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    more = {str(one.get("content")): one["id"] for one in added if type(one.get("id")) is int}
    return Vocabulary({**tokens, **more}, frozenset(more) - frozenset(tokens)) if tokens or more else None


def agreement(first: ModelFacts, other: ModelFacts) -> Agreement:
    """Whether two models' vocabularies are the same."""
    return "same" if _identical_files(first, other) else _by_content(first, other)


def difference(first: ModelFacts, other: ModelFacts) -> str:
    """In what two vocabularies differ, as the end of a sentence; empty when it cannot be told."""
    mine, theirs = (read_vocabulary(facts.texts.get("tokenizer.json", "")) for facts in (first, other))
    if mine is None or theirs is None:
        return ""
    missing, extra = mine.tokens.keys() - theirs.tokens.keys(), theirs.tokens.keys() - mine.tokens.keys()
    moved = [token for token in mine.tokens.keys() & theirs.tokens.keys() if mine.tokens[token] != theirs.tokens[token]]
    parts = [
        f"{counted(len(extra), 'token')} more" if extra else "",
        f"{counted(len(missing), 'token')} fewer" if missing else "",
        f"{counted(len(moved), 'token')} with another id" if moved else "",
    ]
    return ", ".join(part for part in parts if part)


def _trained(vocabulary: Any) -> dict[str, int]:
    """BPE, WordPiece and WordLevel list ids; Unigram lists (piece, score) in order of id."""
    if isinstance(vocabulary, dict):
        return {token: number for token, number in vocabulary.items() if type(number) is int}
    if isinstance(vocabulary, list):
        return {str(entry[0]): number for number, entry in enumerate(vocabulary) if isinstance(entry, list) and entry}
    return {}


def _identical_files(first: ModelFacts, other: ModelFacts) -> bool:
    """Whether the most telling file that both have is known to be the same, byte for byte."""
    mine, theirs = ({file.name: file for file in facts.files} for facts in (first, other))
    name = next((name for name in TOKENIZER_FILES if name in mine and name in theirs), None)
    if name is None:
        return False
    a, b = mine[name], theirs[name]
    return (a.sha256 is not None and a.sha256 == b.sha256) or (a.oid is not None and a.oid == b.oid)


def _by_content(first: ModelFacts, other: ModelFacts) -> Agreement:
    a, b = first.texts.get("tokenizer.json"), other.texts.get("tokenizer.json")
    if a is None or b is None:
        return "unknown"
    if a == b:
        return "same"
    mine, theirs = read_vocabulary(a), read_vocabulary(b)
    if mine is None or theirs is None:
        return "unknown"
    return "same" if mine.tokens == theirs.tokens else "different"
