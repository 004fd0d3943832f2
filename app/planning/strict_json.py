"""JSON from strangers: UTF-8, one object, no key twice, no NaN or Infinity, never a crash."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn


class BadJson(ValueError):
    """What is wrong, as the rest of a sentence that begins with the file's name."""


def load_object(raw: bytes, integer: Callable[[str], int] | None = None, *, infinite: bool = False) -> dict[str, Any]:
    """The object in ``raw``. ``integer`` reads whole numbers from their digits and may raise ValueError.
    ``infinite`` accepts NaN and Infinity, which some models' configs hold (``time_step_limit: [0.0, Infinity]``).

    Raises BadJson. Lone surrogates written as escapes are kept: encode what you use.
    """
    try:
        content = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_int=integer or _integer,
            parse_constant=float if infinite else _constant,
        )
    except UnicodeDecodeError as error:
        raise BadJson("is not UTF-8 text") from error
    except RecursionError as error:
        raise BadJson("is nested too deeply") from error
    except BadJson:
        raise
    except ValueError as error:
        raise BadJson(f"is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadJson("is not a JSON object")
    return content


def depth(value: object) -> int:
    """How many objects and lists stand inside each other. Never recurses."""
    deepest, level = 0, [value]
    while level:
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list | tuple):
                inner += one
        if any(isinstance(one, dict | list | tuple) for one in level):
            deepest += 1
        level = inner
    return deepest


def short(value: object, most: int = 80) -> str:
    """A value from a file, fit for a message. Never walks into nested values, which may be deep."""
    if isinstance(value, list):
        value = str(value[:8]) if all(isinstance(one, int | float) for one in value) else "[...]"
    text = value if isinstance(value, str) else f"a {type(value).__name__}"
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= most else text[: most - 3] + "..."


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise BadJson(f"has the key {short(twice)} twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 40:
        raise ValueError(f"{digits[:24]}... is too large a number")
    return int(digits)


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number here")
