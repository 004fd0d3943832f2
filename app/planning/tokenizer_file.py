"""tokenizer.json: its tokens read as data, and the same file with another set of tokens."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from app.planning.strict_json import BadJson, depth, load_object
from app.recipe.findings import refuse

TOKENIZER = "tokenizer.json"
_DEEPEST = 40
_WORDS = ("BPE", "WordLevel", "WordPiece")
_PLAIN: Mapping[str, bool] = {
    "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False,
}  # fmt: skip


@dataclass(frozen=True)
class TokenizerFile:
    """``trained``: the model's own tokens with their ids; ``added``: entries of tokens matched before the model
    runs, by content. ``kind`` is the model's type: BPE, WordLevel, WordPiece or Unigram."""

    content: Mapping[str, Any]
    kind: str
    trained: Mapping[str, int]
    added: Mapping[str, Mapping[str, Any]]

    @cached_property
    def tokens(self) -> dict[str, int]:
        """Token -> id. An added token that the model knows too has the model's id."""
        return {**{token: entry["id"] for token, entry in self.added.items()}, **self.trained}

    @property
    def scores(self) -> dict[str, float]:
        """Unigram's scores."""
        return dict(self.content["model"]["vocab"]) if self.kind == "Unigram" else {}

    def merges_into(self, tokens: Collection[str]) -> list[tuple[str, str]]:
        """BPE's merges that make one of these tokens, the most important first."""
        pairs = (_pair(one) for one in self.content["model"].get("merges") or ())
        return [pair for pair in pairs if pair is not None and pair[0] + pair[1] in tokens]


# Large vocabularies take most of a second to read, and a recipe is checked at every change.
@lru_cache(maxsize=4)
def read_tokenizer(text: str) -> TokenizerFile | None:
    """None when the text is not a tokenizer.json of a kind that is known. The value is shared: not to be changed."""
    try:
        content = load_object(text.encode())
        model, listed = content.get("model"), content.get("added_tokens")
        trained = _trained(model)
        if depth({**content, "model": _without_vocabulary(model)}) > _DEEPEST:
            return None
        added = {one["content"]: one for one in listed if _is_entry(one)} if isinstance(listed, list) else {}
        "".join([*(trained or ()), *added]).encode()
    except (BadJson, UnicodeEncodeError):
        return None
    if trained is None or not isinstance(model, dict):
        return None
    return TokenizerFile(content, _kind(model), trained, added)


def write_tokenizer(owner: TokenizerFile, tokens: Mapping[str, int], others: Sequence[TokenizerFile]) -> str:
    """``owner``'s file with exactly these tokens, at these ids.

    Every token stands in the model's own vocabulary: libraries number added tokens anew when ids have gaps, but keep
    the ids written there. Trained tokens of ``others`` come with their merges (after the owner's) or scores, so that
    they are found as before and not wherever their letters occur; their added tokens stay added tokens. Raises
    Refused when the kind of tokenizer cannot hold these ids.
    """
    model = dict(owner.content["model"])
    listed = sorted(tokens, key=lambda token: tokens[token])
    if owner.kind == "Unigram":
        model["vocab"] = _pieces(owner, tokens, listed, others)
    else:
        model["vocab"] = {token: tokens[token] for token in listed}
    if owner.kind == "BPE":
        model["merges"] = _merges(owner, tokens, others)
    added = added_entries(owner, tokens, others)
    return json.dumps({**owner.content, "added_tokens": added, "model": model}, ensure_ascii=False) + "\n"


def added_entries(
    owner: TokenizerFile, tokens: Mapping[str, int], others: Iterable[TokenizerFile]
) -> list[dict[str, Any]]:
    """The added tokens of the result in the order of their ids. The first tokenizer that has one says how it is
    matched; a token that no tokenizer knows is matched as it stands."""
    found: dict[str, Mapping[str, Any]] = dict(owner.added)
    known = set(owner.trained)
    for other in others:
        found = {**other.added, **found}
        known |= other.trained.keys()
    found |= {token: _PLAIN for token in tokens if token not in known and token not in found}
    kept = sorted((token for token in found if token in tokens), key=lambda token: tokens[token])
    return [{"id": tokens[token], "content": token, **_flags(found[token])} for token in kept]


def _flags(entry: Mapping[str, Any]) -> dict[str, bool]:
    return {flag: entry.get(flag) is True for flag in _PLAIN}


def _kind(model: Mapping[str, Any]) -> str:
    """Older files do not name the type."""
    if isinstance(model.get("type"), str):
        return str(model["type"])
    return "Unigram" if isinstance(model.get("vocab"), list) else "BPE" if "merges" in model else "WordPiece"


def _trained(model: Any) -> dict[str, int] | None:
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict) and _kind(model) in _WORDS:
        sound = all(type(number) is int and 0 <= number < 1 << 31 for number in vocabulary.values())
        return dict(vocabulary) if sound else None
    if isinstance(vocabulary, list) and _kind(model) == "Unigram" and all(_is_piece(one) for one in vocabulary):
        trained: dict[str, int] = {}
        for number, (piece, _) in enumerate(vocabulary):
            trained.setdefault(piece, number)
        return trained
    return None


def _without_vocabulary(model: Any) -> Any:
    """The vocabulary, when ``_trained`` accepts it, is flat, and long."""
    return {key: value for key, value in model.items() if key != "vocab"} if isinstance(model, dict) else model


def _is_piece(entry: Any) -> bool:
    return (
        isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], int | float)
    )


def _is_entry(one: Any) -> bool:
    whole = isinstance(one, dict) and type(one.get("id")) is int and 0 <= one["id"] < 1 << 31
    return whole and isinstance(one.get("content"), str) and one["content"] != ""


def _pieces(
    owner: TokenizerFile, tokens: Mapping[str, int], listed: Sequence[str], others: Iterable[TokenizerFile]
) -> list[list[Any]]:
    """Unigram's list: a token's place is its id."""
    if [tokens[token] for token in listed] != list(range(len(listed))):
        raise refuse(
            "tokenizer-ids", "tokenizer", "This kind of tokenizer (Unigram) cannot have gaps between its ids.",
            "Use the tokenizer of another parent as source, or leave the tokenizer key out.",
        )  # fmt: skip
    scores: dict[str, float] = {}
    for one in (owner, *others):
        scores = {**one.scores, **scores}
    least = min(scores.values(), default=0.0)
    return [[token, scores.get(token, least - 10)] for token in listed]


def _merges(owner: TokenizerFile, tokens: Mapping[str, int], others: Iterable[TokenizerFile]) -> list[Any]:
    gone = owner.trained.keys() - tokens.keys()
    raw = owner.content["model"].get("merges") or []
    merges = [one for one in raw if not gone or (pair := _pair(one)) is None or not {*pair, "".join(pair)} & gone]
    missing = tokens.keys() - owner.trained.keys()
    as_lists = not merges or isinstance(merges[0], list)
    for other in others:
        fresh = [pair for pair in other.merges_into(missing) if tokens.keys() >= set(pair)] if missing else []
        missing -= {"".join(pair) for pair in fresh}
        merges += [list(pair) if as_lists else " ".join(pair) for pair in fresh]
    return merges


def _pair(merge: Any) -> tuple[str, str] | None:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts):
        return parts[0], parts[1]
    return None
