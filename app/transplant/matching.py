"""Which tokens of a donor's tokenizer the model knows too, and which of its rows they keep."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.planning.facts import ModelFacts
from app.planning.strict_json import BadJson, load_object
from app.planning.vocabulary import Known
from app.transplant.spelling import Spelled, spell

ROLES = ("eos", "bos", "unk", "sep", "cls", "mask", "pad")
"""What special tokens are for; of tokens with several roles the first counts."""


@dataclass(frozen=True)
class Match:
    """``own[row]``: the model's row for the token with this id in the donor's tokenizer, -1 if it has none.
    ``fresh``: what the tokens without one stand for. ``shared``: ids of tokens that stand for text in both, each with a
    row of its own in the donor. ``by_role``: special tokens matched because they end, begin or fill a text in both, by
    role: the donor's token and the model's. ``tokens``: how many the donor's tokenizer has."""

    own: array[int]
    fresh: Mapping[int, Spelled]
    shared: tuple[int, ...]
    tokens: int
    by_role: Mapping[str, tuple[str, str]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def rows(self) -> int:
        return len(self.own)

    @property
    def kept(self) -> int:
        """Tokens that keep a row of the model."""
        return self.tokens - len(self.fresh)

    def moved(self) -> dict[int, int]:
        """The model's ids -> the donor's, for tokens that both have."""
        return {row: number for number, row in reversed(list(enumerate(self.own))) if row >= 0}


def match(model: Known, donor: Known, roles: tuple[Mapping[str, int], Mapping[str, int]], rows: int) -> Match:
    """``roles``: ids of special tokens by what they are for, of the model and of the donor. ``rows``: of the result."""
    mine, theirs = spell(model.file, model.tokens), spell(donor.file, donor.file.tokens)
    found = _Known.of(mine)
    own = array("i", [-1]) * rows
    for number, one in theirs.items():
        own[number] = found.row(one)
    by_role = dict(_roles(own, model, donor, *roles))
    shared = tuple(
        sorted(
            number
            for number, one in theirs.items()
            if one.kind != "special" and number < donor.rows and own[number] >= 0
        )
    )
    fresh = {number: one for number, one in sorted(theirs.items()) if own[number] < 0}
    return Match(own, MappingProxyType(fresh), shared, len(theirs), MappingProxyType(by_role))


def special_ids(facts: ModelFacts, tokens: Mapping[str, int]) -> dict[str, int]:
    """Ids of special tokens by role: as tokenizer_config.json names them, else by the ids in config.json."""
    try:
        told = load_object(facts.texts.get("tokenizer_config.json", "{}").encode(), infinite=True)
    except (BadJson, UnicodeEncodeError):
        told = {}
    found = {}
    for role in ROLES:
        number = tokens.get(_content(told.get(f"{role}_token")))
        if number is None:
            listed = facts.config.get(f"{role}_token_id")
            first = listed[0] if isinstance(listed, list) and listed else listed
            number = first if type(first) is int and first in tokens.values() else None
        if number is not None:
            found[role] = number
    return found


@dataclass(frozen=True)
class _Known:
    """The model's rows by what they stand for. Of tokens that stand for the same the first counts."""

    by: Mapping[str, Mapping[bytes, int]]

    @classmethod
    def of(cls, tokens: Mapping[int, Spelled]) -> _Known:
        by: dict[str, dict[bytes, int]] = {"text": {}, "byte": {}, "special": {}}
        for number, one in sorted(tokens.items()):
            by[one.kind].setdefault(one.text, number)
        return cls(by)

    def row(self, one: Spelled) -> int:
        other = "byte" if one.kind == "text" else "text"
        return self.by[one.kind].get(one.text, self.by[other].get(one.text, -1))


def _roles(
    own: array[int], model: Known, donor: Known, mine: Mapping[str, int], theirs: Mapping[str, int]
) -> Iterable[tuple[str, tuple[str, str]]]:
    """Gives special tokens without a match in writing the row of the model's token of the same role."""
    names = ({number: token for token, number in one.file.tokens.items()} for one in (donor, model))
    called, known = names
    for role, number in theirs.items():
        row = mine.get(role, -1)
        if own[number] < 0 <= row < model.rows:
            own[number] = row
            yield role, (called[number], known[row])


def _content(token: Any) -> str:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""
