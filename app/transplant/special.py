"""Ids of tokens in config.json and generation_config.json, told anew for the donor's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.planning.config_edit import Change, part_at
from app.planning.token_ids import set_ids, token_ids
from app.transplant.matching import ROLES

_OF_TEXT = frozenset({*ROLES, "decoder_start", "forced_bos", "forced_eos", "suppress", "begin_suppress"})
_ADDED = ("bos", "eos", "pad")
"""What libraries take for granted where a config does not say it."""


@dataclass(frozen=True)
class NewIds:
    """``config``: the donor's; ``roles``: ids of its special tokens by what they are for; ``moved``: ids of the
    model's tokens -> the donor's, for those that both have; ``rows`` of the result."""

    config: Mapping[str, Any]
    roles: Mapping[str, int]
    moved: Mapping[int, int]
    rows: int
    lost: set[str] = field(default_factory=set)

    def retold(self, config: Mapping[str, Any], *, whole: bool) -> tuple[dict[str, Any], tuple[Change, ...]]:
        """A copy with the donor's ids, and what changed. With ``whole`` it says where texts begin and end even if it
        did not before. Keys whose tokens have no counterpart are emptied, and named in ``lost``."""
        changes = []
        for path, key, ids in token_ids(config):
            after = self._after(path, key, ids)
            if after != ids:
                changes.append(Change(".".join((*path, key)), ids, after))
        if whole:
            changes += self._said(config)
        return set_ids(config, changes), tuple(changes)

    def _after(self, path: tuple[str, ...], key: str, ids: Any) -> Any:
        theirs = part_at(self.config, path).get(key)
        listed = theirs if isinstance(theirs, list) else [theirs]
        if role_of(key) in _OF_TEXT and all(type(one) is int and 0 <= one < self.rows for one in listed) and listed:
            return theirs
        role = self.roles.get(role_of(key))
        kept = [self.moved[one] for one in (ids if isinstance(ids, list) else [ids]) if one in self.moved]
        after = role if not kept else kept if isinstance(ids, list) else kept[0]
        if after is None:
            self.lost.add(key)
        return after

    def _said(self, config: Mapping[str, Any]) -> Iterator[Change]:
        for role in _ADDED:
            key = f"{role}_token_id"
            if key not in config and not any(known == key for _, known, _ in token_ids(config)):
                theirs = self.config.get(key, self.roles.get(role))
                if isinstance(theirs, int | list):
                    yield Change(key, None, theirs)


def role_of(key: str) -> str:
    """What the token of a config's key is for: ``eos`` for ``eos_token_id``."""
    return key.removesuffix("_tokens").partition("_token")[0]


def strangers(config: Mapping[str, Any], moved: Mapping[int, int]) -> Iterator[tuple[str, int]]:
    """Keys and ids of tokens that stand for pictures, sounds and the like, and that the donor does not have."""
    for _, key, ids in token_ids(config):
        if role_of(key) not in _OF_TEXT:
            yield from ((key, one) for one in (ids if isinstance(ids, list) else [ids]) if one not in moved)
