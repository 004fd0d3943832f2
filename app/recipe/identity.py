"""What makes two recipes the same: a canonical form, its hash, and a token that carries the whole recipe."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from typing import Any

from app.recipe.findings import refuse
from app.recipe.safe_yaml import MAX_BYTES
from app.recipe.schema import Recipe
from app.recipe.writing import as_plain, write_recipe


def canonical_json(recipe: Recipe) -> str:
    """Sorted keys, no spaces, whole floats as integers: 1 and 1.0 are the same weight. With stages, a list."""
    plain = [as_plain(document) for document in recipe.documents] if recipe.stages else as_plain(recipe)
    return json.dumps(_canonical(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def recipe_hash(recipe: Recipe) -> str:
    """Hex SHA-256 of the canonical form. Two texts that mean the same have the same hash."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


LONGEST_TOKEN = 24_000
"""Letters of the longest share token: what browsers and chat programs still take as one address."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def share_token(recipe: Recipe) -> str:
    """The whole recipe as URL-safe text, for links between servers that do not know each other."""
    packed = zlib.compress(write_recipe(recipe).encode(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_share_token(token: str) -> str:
    """The recipe text of a share token. Raises Refused when it is damaged or would inflate beyond a recipe's size."""
    try:
        if len(token) > LONGEST_TOKEN or not _TOKEN.fullmatch(token):
            raise ValueError("too long, or with other letters in it")
        packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        inflater = zlib.decompressobj()
        raw = inflater.decompress(packed, MAX_BYTES)
        if inflater.unconsumed_tail or inflater.unused_data or not inflater.eof:
            raise ValueError("too long, cut short, or with more behind it")
        return raw.decode()
    except (ValueError, zlib.error) as error:
        raise refuse(
            "bad-share-link", "", "This link is damaged or cut short.", "Ask for the link again, or for the YAML."
        ) from error


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
