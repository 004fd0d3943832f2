"""Model references: ``owner/name@revision``, ``local:root/folder``, and either with ``+adapter``."""

from __future__ import annotations

import re

from app.recipe.findings import Refused, refuse
from app.recipe.schema import ModelRef

HUB_ID = re.compile(r"[\w-][\w.-]{0,95}/[\w.-]{1,96}", re.ASCII)
REVISION = re.compile(r"[\w./-]{1,128}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST = 512


def parse_reference(text: str, where: str = "") -> ModelRef:
    """Read a reference. Raises Refused for anything that is not one (an address, a control character, ``..``)."""
    text = text.strip()
    if not text or len(text) > _LONGEST or any(ord(letter) < 32 for letter in text):
        raise _unreadable(text, where)
    model, plus, adapter = text.partition("+")
    if "+" in adapter:
        raise refuse("bad-reference", where, f'"{text}" has more than one "+".', "One adapter goes on one model.")
    if plus and not adapter:
        raise refuse("bad-reference", where, f'"{text}" names no adapter after the "+".', "Write model+adapter.")
    return ModelRef(*_split_revision(model, where), adapter=parse_reference(adapter, where) if plus else None)


def is_hub_id(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None and ".." not in name


def _split_revision(text: str, where: str) -> tuple[str, str | None]:
    name, at, revision = text.partition("@")
    if "://" in name or name.startswith("//"):
        raise refuse(
            "bad-reference", where, f'"{name}" is an address, not a model.',
            "Write the Hub id: the two words after the host name, such as owner/model.",
        )  # fmt: skip
    if not name or name != name.strip():
        raise _unreadable(text, where)
    if at and (not REVISION.fullmatch(revision) or ".." in revision):
        raise refuse("bad-reference", where, f'"{revision}" is not a branch, tag or commit.', "Write model@revision.")
    return name, revision if at else None


def _unreadable(text: str, where: str) -> Refused:
    shown = text[:60].encode("unicode_escape").decode()
    return refuse(
        "bad-reference", where, f'"{shown}" is not a model reference.',
        "Write a Hub id (owner/model), or local:root/folder.",
    )  # fmt: skip
