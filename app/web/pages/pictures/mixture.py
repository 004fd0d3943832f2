"""What of a mixture of experts comes from where: a row a layer, attention from the base, a column for each MLP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.experts.wanted import WantedMixture
from app.planning.ledger import listed
from app.recipe.schema import ModelRef
from app.web.pages.pictures.threads import thread

WIDTH = 1000
"""Across; one unit is a pixel from top to bottom, and a thousandth of the width across."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEIGHT = 176
"""Of all layers."""
_WIDE, _MARGIN = 9.0, 7.0
"""A row that is no layer, and what lies between it and the layers."""
_MOST_ROWS = 36
_UNKNOWN_ROWS = 12
_GAP, _GROUP_GAP = 8.0, 28.0
_ATTENTION, _ROUTER = 62.0, 70.0
_MOST_LABELS = 16


@dataclass(frozen=True, slots=True)
class Column:
    """``path``: all of its rows. ``centre``: of its label, in percent."""

    colour: str
    label: str
    centre: float
    path: str


@dataclass(frozen=True, slots=True)
class Thread:
    """A model that goes in: its letter, empty for the base, its colour, and what it gives."""

    letter: str
    colour: str
    name: str
    gives: str


@dataclass(frozen=True)
class MixturePicture:
    """``wide``: tops of the rows that are no layer, ``thickness`` high. ``highest`` and ``lowest``: the middles of the
    first and last layer, ``last`` the number of the highest, empty when unknown. ``drawn``: routers are drawn at
    random."""

    columns: tuple[Column, ...]
    router: Column
    wide: tuple[float, float]
    thickness: float
    height: float
    highest: float
    lowest: float
    last: str
    drawn: bool
    threads: tuple[Thread, ...]
    told: str


def letters(wanted: WantedMixture) -> Mapping[ModelRef, str]:
    """A letter for each model that is not the base, which has none. They come again after Z."""
    others = [one for one in wanted.parents() if one != wanted.base]
    return {wanted.base: "", **{one: LETTERS[index % len(LETTERS)] for index, one in enumerate(others)}}


def draw(wanted: WantedMixture, layers: int | None = None) -> MixturePicture:
    """``layers`` None: as many rows as look well, without numbers."""
    named = letters(wanted)
    rows = min(layers or _UNKNOWN_ROWS, _MOST_ROWS)
    pitch = min(14.0, _HEIGHT / rows)
    tops = [round(_WIDE + _MARGIN + pitch * row, 2) for row in range(rows)]
    thickness = round(pitch - 1.75, 2)
    x, columns = 0.0, []
    for _ in range(4):
        columns.append(_column("t-base", "", x, _ATTENTION, tops, thickness))
        x += _ATTENTION + _GAP
    x += _GROUP_GAP - _GAP
    router = _column("", "router", x, _ROUTER, tops, thickness)
    x += _ROUTER + _GROUP_GAP
    count = len(wanted.everyone)
    gap = _GAP if count <= _MOST_LABELS else 1.0
    width = (WIDTH - x - gap * (count - 1)) / count
    for index, one in enumerate(wanted.everyone):
        label = named[one.source] or "base" if count <= _MOST_LABELS else ""
        columns.append(_column(thread(named[one.source]), label, x + index * (width + gap), width, tops, thickness))
    bottom = round(tops[-1] + thickness + _MARGIN, 2)
    return MixturePicture(
        tuple(columns), router, (0.0, bottom), _WIDE, round(bottom + _WIDE, 2), tops[0] + thickness / 2,
        tops[-1] + thickness / 2,
        str(layers - 1) if layers else "", not wanted.prompted, _threads(wanted, named), _told(wanted),
    )  # fmt: skip


def _column(colour: str, label: str, x: float, width: float, tops: list[float], thickness: float) -> Column:
    left, right = round(x, 1), round(x + width, 1)
    path = "".join(f"M{left} {top}H{right}V{round(top + thickness, 2)}H{left}Z" for top in tops)
    return Column(colour, label, round((x + width / 2) / 10, 2), path)


def _threads(wanted: WantedMixture, named: Mapping[ModelRef, str]) -> tuple[Thread, ...]:
    found = []
    for ref, letter in named.items():
        numbers = [str(at) for at, one in enumerate(wanted.experts, start=1) if one.source == ref]
        gives = [] if letter else ["attention, norms, embeddings, head"]
        if numbers:
            gives.append(f"MLPs of expert{'s' if len(numbers) > 1 else ''} {listed(numbers, most=9)}")
        if any(one.source == ref for one in wanted.shared):
            gives.append("MLPs of the shared expert")
        found.append(Thread(letter, thread(letter), ref.unversioned, "; ".join(gives)))
    return tuple(found)


def _told(wanted: WantedMixture) -> str:
    shared = ", one of them shared" if wanted.shared else ""
    return (
        f"Every layer: attention from {wanted.base.unversioned}, a router, and {len(wanted.everyone)} MLPs{shared}, "
        f"each from its expert. Embeddings and head from {wanted.base.unversioned}."
    )
