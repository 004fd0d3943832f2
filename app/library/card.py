"""What a model's README says of it in its first lines, as far as merging needs to know."""

from __future__ import annotations

import re

from app.recipe.references import is_hub_id

CARD = "README.md"
LONGEST = 65_536
_BLOCK = re.compile(r"\A---\r?\n(.*?)^---", re.DOTALL | re.MULTILINE)
_LICENCE = re.compile(r"^license:[ \t]*[\"']?([\w.+-]+)", re.MULTILINE)
_LICENCE_NAME = re.compile(r"^license_name:[ \t]*[\"']?([\w.+ -]+)", re.MULTILINE)
_BASE = re.compile(r"^base_model:(.*(?:\r?\n[ \t]*-.*)*)", re.MULTILINE)


def licence_and_bases(text: str) -> tuple[str | None, tuple[str, ...]]:
    """The licence and base models in the YAML at the top of a card.

    Read line by line and not as YAML: a card comes from a stranger, and only plain words are looked for.
    """
    block = _BLOCK.match(text)
    if block is None:
        return None, ()
    licence, name = _LICENCE.search(block[1]), _LICENCE_NAME.search(block[1])
    told = name[1].strip() if name and licence and licence[1] == "other" else licence[1] if licence else None
    bases = _BASE.search(block[1])
    words = re.findall(r"[\w./-]+", bases[1]) if bases else []
    return told, tuple(dict.fromkeys(word for word in words if is_hub_id(word)))
