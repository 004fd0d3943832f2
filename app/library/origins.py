"""Licences and base models of several models at once, from what the Hub or their cards say. No weights, no headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.library.card import CARD, LONGEST, licence_and_bases
from app.library.facts import Library
from app.library.headers import Piece
from app.library.remote import HubFiles
from app.planning.family import Origin
from app.recipe.findings import Refused
from app.recipe.references import parse_reference

_AT_ONCE = 8


def origins(library: Library, names: Sequence[str]) -> Mapping[str, Origin]:
    """What is known of each; never raises. A model that cannot be asked about says why."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(names, pool.map(lambda name: _origin(library, name), names), strict=True))


def _origin(library: Library, name: str) -> Origin:
    try:
        source = library.files(parse_reference(name))
        if isinstance(source, HubFiles):
            return Origin(source.info.licence, source.info.base_models, source.info.gated)
        card = source.read([Piece(CARD, 0, LONGEST)])[0] if CARD in source.files else b""
        return Origin(*licence_and_bases(card.decode("utf-8", errors="replace")))
    except Refused as problem:
        return Origin(unread=problem.findings[0].text)
