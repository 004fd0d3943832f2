"""YAML to plain values, for text from strangers.

Types are PyYAML's (YAML 1.1), the reader published recipes were written for. Left out on purpose: anchors,
aliases, merge keys, tags and repeated keys. They are what makes small files explode, and no recipe needs them.
Values are built from parser events without recursion, so no nesting can exhaust the stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from app.recipe.findings import Refused, refuse

MAX_BYTES = 128 * 1024
MAX_DEPTH = 20
MAX_DOCUMENTS = 32
MAX_BITS = 63
LONGEST_NUMBER = 200
"""Letters; what is longer stays text. Trying to read it as a number can take seconds (``1:1:1:...`` is one)."""

_RESOLVER = yaml.SafeLoader("")
_PLAIN = {"int", "float", "bool", "null", "str"}


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that is still being read."""

    value: dict[str, Any] | list[Any]
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    documents: list[Any] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    def add(self, value: Any, line: int) -> None:
        if not self.stack:
            self.documents.append(value)
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            top.key = self._new_key(value, top.value, line)
        else:
            top.value[top.key] = value
            top.key = None

    @staticmethod
    def _new_key(value: Any, into: dict[str, Any], line: int) -> str:
        if isinstance(value, (dict, list)):
            raise refuse("bad-yaml", f"line {line}", "A key must be a word.", "Check the indentation above this line.")
        key = str(value)
        if key == "<<":
            raise _forbidden("a merge key (<<)", line)
        if key in into:
            raise refuse("repeated-key", f"line {line}", f'The key "{key}" stands here twice.', "Keep one of them.")
        return key


def load_documents(text: str) -> list[Any]:
    """The YAML documents of ``text`` as dicts, lists and scalars. Raises Refused with a line number."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise refuse(
            "recipe-too-long", "", f"A recipe may have at most {MAX_BYTES // 1024} KB.", "Is this the right file?"
        )
    builder = _Builder()
    try:
        for event in _events(text):
            _take(event, builder)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise refuse("bad-yaml", f"line {line}", f"This is not YAML: {error.problem}.", "Check this line.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise refuse("bad-yaml", "", "The text holds characters that YAML does not allow.", "Save as UTF-8.") from error
    return builder.documents


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _take(event: yaml.Event, builder: _Builder) -> None:
    line = event.start_mark.line + 1 if event.start_mark else 0
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise _forbidden("an anchor or alias (& or *)", line)
    if isinstance(event, yaml.ScalarEvent):
        builder.add(_scalar(event, line), line)
    elif isinstance(event, yaml.CollectionStartEvent):
        if event.tag is not None:
            raise _forbidden("a tag (!)", line)
        if len(builder.stack) >= MAX_DEPTH:
            raise refuse("too-deep", f"line {line}", f"Nested more than {MAX_DEPTH} deep.", "Check the indentation.")
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        builder.add(value, line)
        builder.stack.append(_Open(value))
    elif isinstance(event, yaml.CollectionEndEvent):
        builder.stack.pop()
    elif isinstance(event, yaml.DocumentStartEvent) and len(builder.documents) >= MAX_DOCUMENTS:
        raise refuse("too-many-documents", f"line {line}", f"More than {MAX_DOCUMENTS} documents.", "Split the file.")


def _scalar(event: yaml.ScalarEvent, line: int) -> Any:
    if event.tag is not None:
        raise _forbidden("a tag (!)", line)
    plain, quoted = event.implicit
    if not plain or len(event.value) > LONGEST_NUMBER:
        return event.value
    tag = str(_RESOLVER.resolve(yaml.ScalarNode, event.value, (plain, quoted)))  # type: ignore[no-untyped-call]
    if tag.rpartition(":")[2] not in _PLAIN:
        return event.value
    try:
        value = _RESOLVER.construct_object(yaml.ScalarNode(tag, event.value))
    except (ValueError, OverflowError) as error:
        raise _not_a_number(event.value, line) from error
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise _not_a_number(event.value, line)
    return value


def _not_a_number(text: str, line: int) -> Refused:
    return refuse("bad-yaml", f"line {line}", f'"{text[:40]}" is not a number that can be used.', "Check it.")


def _forbidden(what: str, line: int) -> Refused:
    return refuse("yaml-not-allowed", f"line {line}", f"A recipe may not use {what}.", "Write the value out in full.")
