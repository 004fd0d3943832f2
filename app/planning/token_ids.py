"""Token ids in configs, when the result's tokenizer is not that of the parent whose config it gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.planning.config_edit import Change

_TOKEN_IDS = re.compile(r".*_token_(id|ids|index)|(begin_)?suppress_tokens")


def renumber(
    config: Mapping[str, Any], owner: Mapping[str, Any], ids: Mapping[int, int]
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """A copy with the ids that ``owner``, the tokenizer's own config, has under the same keys; where it has none, with
    the new ``ids`` of the same tokens. And what changed."""
    changes = tuple(_changes(config, owner, ids, ()))
    return set_ids(config, changes), changes


def token_ids(config: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Everything in a config that is a token's id or a list of such: where, under which key, and the ids."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from token_ids(value, (*path, key))
        elif _TOKEN_IDS.fullmatch(key) and _is_ids(value):
            yield path, key, value


def set_ids(config: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """A copy with the values of these changes, keys that were not there included."""
    after = {change.key: change.after for change in changes}
    new = {key: value for key, value in after.items() if "." not in key and key not in config}
    return {**_applied(config, after, ""), **new}


def _changes(
    config: Mapping[str, Any], owner: Mapping[str, Any], ids: Mapping[int, int], path: tuple[str, ...]
) -> Iterator[Change]:
    for key, value in config.items():
        theirs = owner.get(key)
        if isinstance(value, dict):
            yield from _changes(value, theirs if isinstance(theirs, dict) else {}, ids, (*path, key))
        elif _TOKEN_IDS.fullmatch(key) and _is_ids(value):
            after = theirs if _is_ids(theirs) else _moved(value, ids)
            if after != value:
                yield Change(".".join((*path, key)), value, after)


def _moved(value: Any, ids: Mapping[int, int]) -> Any:
    return [ids.get(one, one) for one in value] if isinstance(value, list) else ids.get(value, value)


def _is_ids(value: Any) -> bool:
    return type(value) is int or (isinstance(value, list) and all(type(one) is int for one in value))


def _applied(config: Mapping[str, Any], after: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {
        key: _applied(value, after, f"{path}{key}.") if isinstance(value, dict) else after.get(path + key, value)
        for key, value in config.items()
    }
