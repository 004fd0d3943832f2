"""What becomes of single entries, for the methods that drop, vote or choose: a row of bars a parent, the result below.

Each bar is one weight's change from the base. A column of solid bars adds up to the bar in the last row, but for what
the method divides or multiplies by at the end. Lengths are in units of the drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.recipe.catalogue import METHODS
from app.recipe.form import THREADS
from app.web.pages.pictures.formulas import Example, merge
from app.web.pages.pictures.parents import Parent, others
from app.web.pages.pictures.small_vectors import Row, Vector
from app.web.pages.pictures.threads import thread

WIDTH, LEFT, HEAD, FOOT = 260.0, 42.0, 6.0, 15.0
ROW, RESULT = 24.0, 40.0
"""The heights of a parent's row and of the result's."""
_ROWS = 5
_CHANGES = (
    (9, -5, 10, -11, -4, -3, 7, 12, 17, -9, 9, 14, -6, -5, 7, 11),
    (10, -2, 4, -4, 5, -7, 11, 3, 6, -20, -2, 16, -10, 6, 8, 7),
    (4, -4, -13, 3, -3, -6, 14, -5, 10, -13, -10, 17, -3, 4, -2, 11),
    (15, -8, -2, 2, 3, -14, 5, -5, -3, -15, 2, 17, 8, 5, 6, 7),
    (8, -2, 9, -8, 2, -9, 3, 5, 5, -10, 2, 20, -7, 10, -16, 8),
    (17, 6, -7, 2, 6, -3, 10, 7, 6, -9, 17, 15, 2, 4, -2, 9),
    (7, 5, 3, 5, 9, -12, 9, -12, 15, -6, 16, 13, -5, -2, -7, 9),
    (9, -2, -4, 3, 2, -6, 11, 3, 6, -19, 3, 15, -14, 2, 9, 8),
)
"""Changes of the example parents, in thousandths."""
_SPARSE = ("ram", "ramplus_tl")
_UNTOUCHED = 6
"""Changes of up to so many thousandths are none in the sparse examples."""
_DRAWS = (
    (71, 46, 15, 28, 65, 78, 40, 53, 21, 34, 59, 84, 90, 9, 96, 3),
    (53, 46, 78, 71, 59, 84, 28, 21, 96, 90, 9, 15, 65, 34, 3, 40),
    (84, 65, 71, 90, 21, 59, 78, 96, 9, 40, 3, 15, 28, 34, 46, 53),
    (3, 28, 59, 46, 9, 65, 78, 34, 40, 71, 21, 84, 53, 90, 15, 96),
)
"""One throw of the dice, in hundredths; moving the density keeps the throw."""


@dataclass(frozen=True, slots=True)
class Bars:
    """One row: ``solid`` goes into the merge, ``pale`` is dropped, ``outvoted`` lost the vote; each an SVG path."""

    label: str
    letter: str
    y: float
    solid: str
    pale: str
    outvoted: str

    @property
    def colour(self) -> str:
        return thread(self.letter)


@dataclass(frozen=True, slots=True)
class EntryPicture:
    """``merged`` is a path, ``y`` where its zero line is; ``key`` explains the bars; ``told`` is all of it in words."""

    height: float
    rows: tuple[Bars, ...]
    merged: str
    y: float
    key: str
    told: str
    kind: str = "entries"


def draw(
    method: str, parents: Sequence[Parent], settings: Mapping[str, float], *, base_letter: str = ""
) -> EntryPicture:
    """The picture for a method that looks at single entries; ``settings`` are the shared parameters."""
    shown = others(METHODS[method], parents, base_letter)
    inputs = [_change(method, THREADS.find(one.letter) % len(THREADS)) for one in shown]
    draws = [tuple(number / 100 for number in _DRAWS[i % len(_DRAWS)]) for i in range(len(shown))]
    example = Example((0.0,) * len(inputs[0]), inputs, settings, [one.values for one in shown], draws)
    merged = merge(method, example)
    rows = merged.rows[:_ROWS]
    highest = max(max(map(abs, (*row.whole, *row.part))) for row in rows) / (ROW / 2 - 1)
    unit = 1 / (max(highest, max(map(abs, merged.result)) / (RESULT / 2 - 1)) or 1.0)
    bars = tuple(_bars(row, one, index, unit) for index, (row, one) in enumerate(zip(rows, shown, strict=False)))
    y = round(HEAD + ROW * len(rows) + RESULT / 2, 1)
    height = HEAD + ROW * len(rows) + RESULT + FOOT
    return EntryPicture(height, bars, _path(merged.result, y, unit), y, _key(bars, len(shown)), _told(rows, shown))


def _change(method: str, index: int) -> Vector:
    """The example change of a parent; beyond the eighth the first ones again, turned."""
    turn = index // len(_CHANGES)
    numbers = _CHANGES[index % len(_CHANGES)]
    turned = (*numbers[turn:], *numbers[:turn])
    least = _UNTOUCHED if method in _SPARSE else 0
    return tuple(number / 1000 if abs(number) > least else 0.0 for number in turned)


def _bars(row: Row, parent: Parent, index: int, unit: float) -> Bars:
    y = round(HEAD + ROW * (index + 0.5), 1)
    lost = tuple(value if out else 0.0 for value, out in zip(row.whole, row.outvoted, strict=True))
    pale = tuple(
        0.0 if out or abs(part) >= abs(whole) else whole
        for whole, part, out in zip(row.whole, row.part, row.outvoted, strict=True)
    )
    label = parent.letter or "other"
    return Bars(label, parent.letter, y, _path(row.part, y, unit), _path(pale, y, unit), _path(lost, y, unit))


def _path(values: Sequence[float], y: float, unit: float) -> str:
    """Bars up and down from ``y``; nothing for a zero."""
    pitch = (WIDTH - LEFT) / len(values)
    width = round(pitch * 0.62, 1)
    found = []
    for index, value in enumerate(values):
        if abs(value * unit) >= 0.05:
            x, height = LEFT + index * pitch + (pitch - width) / 2, -value * unit
            found.append(f"M{x:.1f} {y}v{height:.1f}h{width}v{-height:.1f}z")
    return "".join(found)


def _key(bars: Sequence[Bars], parents: int) -> str:
    words = ["solid: merged in"]
    words += ["pale: dropped"] if any(one.pale for one in bars) else []
    words += ["outline: outvoted"] if any(one.outvoted for one in bars) else []
    words += [f"and {parents - len(bars)} more"] if parents > len(bars) else []
    return " · ".join(words)


def _told(rows: Sequence[Row], parents: Sequence[Parent]) -> str:
    sentences = []
    for row, one in zip(rows, parents, strict=False):
        kept, lost = sum(bool(value) for value in row.part), sum(row.outvoted)
        outvoted = f", {lost} outvoted" if lost else ""
        sentences.append(f"Of {one.letter or 'the other'}'s {len(row.part)} example changes {kept} go in{outvoted}.")
    return " ".join(sentences)
