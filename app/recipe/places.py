"""Places in a recipe's document as findings name them (``models[1].parameters.weight``), and edits at such places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from app.recipe.documents import the_recipe
from app.recipe.findings import Refused, refuse
from app.recipe.safe_yaml import load_documents
from app.recipe.writing import write_document

Edit: TypeAlias = tuple[Any, ...]
"""``("set", place, value)``, ``("rename", place, key)`` or ``("drop", place)``. A value is a scalar or a short list of
them."""

Document: TypeAlias = dict[str, Any]

_INDEX = re.compile(r"\[(\d{1,6})\]")
MOST_EDITS, _LONGEST = 16, 400


def value_at(document: Any, place: str) -> Any:
    """What stands at a place; None if nothing does."""
    found = _find(document, place)
    return None if found is None else found[0][found[1]]


def places_of(document: Any, value: str) -> list[str]:
    """Every place where a text stands."""
    return [place for place, found in _leaves(document, "") if found == value]


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, inner in node.items():
            yield from _leaves(inner, f"{place}.{key}" if place else key)
    elif isinstance(node, list):
        for index, inner in enumerate(node):
            yield from _leaves(inner, f"{place}[{index}]")
    else:
        yield place, node


def documents_of(text: str) -> list[Document]:
    """The documents of a recipe's text as they are written. None for what cannot be edited: no YAML, or no recipe."""
    try:
        documents = [one for one in load_documents(text) if one is not None]
    except Refused:
        return []
    return documents if all(isinstance(one, dict) for one in documents) else []


def names_of(documents: Sequence[Document]) -> list[str | None]:
    """The names by which others use their results; None without a usable one."""
    names = (one.get("name") for one in documents)
    return [name if name and isinstance(name, str) else None for name in names]


def encode_edits(document: str | None, edits: Sequence[Edit]) -> str:
    """Edits of the document with this name, or of the recipe itself, in JSON."""
    return json.dumps([document or "", *edits], separators=(",", ":"))


def apply_edits(text: str, encoded: str) -> str:
    """The text after edits in JSON. Raises Refused for edits that are not such, or that do not fit the text."""
    name, edits = _decoded(encoded)
    documents = documents_of(text)
    names = names_of(documents)
    if names.count(name) > 1 or not documents or (name is not None and name not in names):
        raise _gone()
    document = documents[the_recipe(names) if name is None else names.index(name)]
    for edit in edits:
        _apply(document, *edit)
    return "---\n".join(map(write_document, documents))


def _decoded(encoded: str) -> tuple[str | None, list[Edit]]:
    """The document's name, None for the recipe itself, and the edits."""
    try:
        told = json.loads(encoded)
    except (ValueError, RecursionError):
        raise _gone() from None
    if not isinstance(told, list) or not 0 < len(told) <= 1 + MOST_EDITS or not isinstance(told[0], str):
        raise _gone()
    return told[0] or None, list(_edits(told[1:]))


def _edits(told: Sequence[Any]) -> Iterator[Edit]:
    for edit in told:
        if not (isinstance(edit, list) and 2 <= len(edit) <= 3 and all(isinstance(one, str) for one in edit[:2])):
            raise _gone()
        if len(edit[1]) > _LONGEST or not all(map(_is_value, edit[2:])):
            raise _gone()
        yield tuple(edit)


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 2 and all(map(_is_scalar, value))
    return _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST and value.isprintable()
    return isinstance(value, bool | int | float)


def _apply(document: dict[str, Any], verb: str, place: str, value: Any = None) -> None:
    found = _find(document, place)
    if verb == "set" and value is not None:
        container, key = found or _make_room(document, place)
        container[key] = value
    elif verb == "drop" and found:
        del found[0][found[1]]
    elif verb == "rename" and found and isinstance(found[0], dict) and isinstance(value, str):
        _rename(found[0], str(found[1]), value)
    else:
        raise _gone()


def _rename(mapping: dict[str, Any], old: str, new: str) -> None:
    """With the key in its place among the others. One that is there already stays, and the misspelt one goes."""
    pairs = [(new if key == old and new not in mapping else key, value) for key, value in mapping.items()]
    mapping.clear()
    mapping.update((key, value) for key, value in pairs if key != old)


def _find(container: Any, place: str) -> tuple[Any, Any] | None:
    """The mapping or list that a place lies in, and its key there. Keys may hold dots: the longest that fits counts."""
    if isinstance(container, list):
        index = _INDEX.match(place)
        if index is None or int(index[1]) >= len(container):
            return None
        return _step(container, int(index[1]), place[index.end() :])
    if not isinstance(container, dict):
        return None
    fitting = [key for key in container if place == key or place.startswith((f"{key}.", f"{key}["))]
    for key in sorted(fitting, key=len, reverse=True):
        found = _step(container, key, place[len(key) :])
        if found is not None:
            return found
    return None


def _step(container: Any, key: Any, rest: str) -> tuple[Any, Any] | None:
    return _find(container[key], rest.removeprefix(".")) if rest else (container, key)


def _make_room(document: dict[str, Any], place: str) -> tuple[Any, str]:
    """The mapping for a place that is not there yet; one ``parameters`` before it is made too."""
    parent, dot, key = place.rpartition(".")
    if not dot:
        return document, key
    found = _find(document, parent)
    if found is None and parent.rpartition(".")[2] == "parameters":
        above, name = _make_room(document, parent)
        above[name] = {}
        return above[name], key
    if found is None or not isinstance(found[0][found[1]], dict):
        raise _gone()
    return found[0][found[1]], key


def _gone() -> Refused:
    return refuse("fix-does-not-fit", "", "This fix no longer fits the recipe.", "Look at the remarks once more.")
