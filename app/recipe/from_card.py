"""Finding the recipe in a model card: a README with a block of YAML among its Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from app.recipe.findings import Refused
from app.recipe.safe_yaml import MAX_BYTES, load_documents

_FENCE = re.compile(r" {0,12}(?P<marks>`{3,}|~{3,})[ \t]*(?P<info>[^`\r\n]*)")
_MOST_BLOCKS = 200
MERGE = "merge_method"


def merge_text(text: str) -> str:
    """The recipe of a merge, alone or as a block of a model card; empty when there is none."""
    found = recipe_text(text)
    return found if re.search(rf"^{MERGE}[ \t]*:", found, re.MULTILINE) else ""


def recipe_text(text: str, mark: str = MERGE) -> str:
    """The recipe in what somebody brought: the first block of code that is one, if ``text`` is a card; else the text
    as it is. ``mark``: the key that tells recipes from other YAML. Takes time linear in the text; nothing in it is
    executed."""
    if mark not in text or _is_recipe(text, mark):
        return text
    return next((block for block in _blocks(text) if mark in block and _is_recipe(block, mark)), text)


def _blocks(text: str) -> Iterator[str]:
    """What stands between fences (CommonMark 4.5: a fence ends at one of the same letter, at least as long), outdented;
    at most two hundred."""
    lines: list[str] = []
    open_marks, found = "", 0
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if not open_marks:
            open_marks, lines = (fence["marks"], []) if fence else ("", [])
        elif fence and fence["marks"].startswith(open_marks) and not fence["info"].strip():
            yield textwrap.dedent("\n".join(lines)) + "\n"
            open_marks, found = "", found + 1
            if found == _MOST_BLOCKS:
                return
        else:
            lines.append(line)


def _is_recipe(text: str, mark: str) -> bool:
    """Whether the text is YAML whose every document is a mapping and one has the mark."""
    if len(text) > MAX_BYTES:
        return False
    try:
        documents = [one for one in load_documents(text) if one is not None]
    except Refused:
        return False
    return all(isinstance(one, dict) for one in documents) and any(mark in one for one in documents)
