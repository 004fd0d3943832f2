"""Remarks that name parents by their letters, as the cards and curves beside them do: ``A differs from the base``
instead of two full references."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from app.web.pages.parent_cards import ParentCard

_BASE = "the base"


def lettered(text: str, parents: Iterable[ParentCard]) -> Markup:
    """``text``, escaped, with each parent's full name as its letter in its colour; the name is the letter's title.
    Names that are only a part of a longer one stay."""
    known = {card.name: card for card in parents}
    if not known:
        return escape(text)
    names = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    pieces = re.split(rf"(?<![\w./:@+-])({names})(?![\w/@+-]|[.:]\w)", text)
    return Markup("").join(
        _letter(known[piece], first=not "".join(pieces[:at])) if at % 2 else escape(piece)
        for at, piece in enumerate(pieces)
    )


def _letter(card: ParentCard, *, first: bool) -> Markup:
    words = card.letter or (_BASE.capitalize() if first else _BASE)
    return Markup('<abbr class="{}" title="{}">{}</abbr>').format(card.colour, card.name, words)
