"""The loom: one row a layer, one column a module, each cell split by how much of each parent ends up there.

Cells of one parent and one strength become a single SVG path, so that eighty layers stay a few kilobytes. Horizontal
units are thousandths of the drawing's width; vertical ones are CSS pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.web.pages.pictures.threads import thread

UNITS = 1000
HEADER = 20
_GROUPS = (("q", "k", "v", "qkv", "o"), ("gate", "up", "gate+up", "down", "router"), ("norm",))
_COLUMN_GAP, _GROUP_GAP = 10, 26
_TALLEST, _ROOMY, _TIGHT = 640, 15, 5
_OUTSIDE_GAP = 7
_LABEL = 12
"""What a label at the left needs from the next one: rows outside the layers are each labelled."""
_STRENGTHS = ((0.3, "s1"), (0.42, "s2"), (0.54, "s3"), (0.66, "s4"), (float("inf"), "s5"))
_TICKS = 8
_NARROW, _LETTER = 340, 5.6
"""CSS pixels: the drawing's width beside the curves, and a letter's."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the loom. ``layer`` is None outside the layers, where ``label`` names the row and every cell is one
    wide cell. ``cells``: module -> share of each parent (adding up to 1), parents in the order of ``letters``.
    ``words``: module -> what the table has instead of the shares."""

    label: str
    layer: int | None
    cells: Mapping[str, tuple[float, ...]]
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """A module's place: ``x`` and ``width`` in thousandths; ``centre`` in percent; ``label``: as much of the name as
    there is room for."""

    name: str
    x: float
    width: float

    @property
    def centre(self) -> float:
        return round((self.x + self.width / 2) / UNITS * 100, 2)

    @property
    def label(self) -> str:
        most = max(3, round((self.width + _COLUMN_GAP) / UNITS * _NARROW / _LETTER))
        return self.name if len(self.name) <= most else f"{self.name[: most - 1]}…"


@dataclass(frozen=True, slots=True)
class Bank:
    """Columns side by side at one pitch: a repeating rounded cell cuts the threads into cells."""

    x: float
    pitch: float
    width: float
    whole: float


@dataclass(frozen=True, slots=True)
class Tick:
    label: str
    y: float


@dataclass(frozen=True, slots=True)
class Threads:
    """All cells of one parent with one strength: the colour's class, the strength's class, the path."""

    colour: str
    strength: str
    path: str


@dataclass(frozen=True, slots=True)
class TableRow:
    label: str
    cells: tuple[str, ...]
    wide: bool = False


@dataclass(frozen=True)
class LoomPicture:
    """Everything the template writes. ``boxes``: (row label, module) -> the outline of the cell; ``table``: all in
    words."""

    columns: tuple[Column, ...]
    banks: tuple[Bank, ...]
    ticks: tuple[Tick, ...]
    threads: tuple[Threads, ...]
    boxes: Mapping[tuple[str, str], str]
    wide_rows: tuple[float, ...]
    """Where the rows outside the layers begin."""
    top: float
    """Where the layers begin."""
    pitch: int
    thickness: int
    height: int
    layers: int
    spots: tuple[float, ...]
    """The middle of each layer's row, layer 0 first, so that curves beside the loom line up."""
    table: tuple[TableRow, ...]
    exact: bool = True
    """False when only the weights decide the shares, so that equal ones are drawn."""
    measured: bool = False
    """The weights have decided: the table has words of its own, with units."""

    @property
    def total_height(self) -> int:
        return self.height + HEADER

    def cover(self, cells: Iterable[tuple[str, str]]) -> str:
        """One path over these cells, to hide what is not woven yet."""
        return "".join(self.boxes.get(cell, "") for cell in cells)


def draw(rows: Sequence[Row], letters: Sequence[str], *, exact: bool = True, measured: bool = False) -> LoomPicture:
    """Lay the loom out. ``rows`` go from the top down, as drawn; ``letters``: one for each share of a cell."""
    banks = _banks(dict.fromkeys(name for row in rows if row.layer is not None for name in row.cells))
    columns = tuple(column for _, bank in banks for column in bank)
    layers = sum(row.layer is not None for row in rows)
    pitch = max(_TIGHT, min(_ROOMY, _TALLEST // max(1, len(rows))))
    thickness = pitch - (4 if pitch > 11 else 2 if pitch > 7 else 1)
    paths: dict[tuple[int, str], list[str]] = {}
    boxes: dict[tuple[str, str], str] = {}
    places = _places(rows, pitch)
    for row, y in places:
        for name, x, width in _boxes(row, columns):
            boxes[row.label, name] = _box(x, y, width, thickness)
            _weave(paths, row.cells[name], letters, x, y, width, thickness)
    threads = tuple(
        Threads(thread(letters[parent]), strength, "".join(pieces))
        for (parent, strength), pieces in sorted(paths.items())
    )
    starts = {row.layer: y for row, y in places if row.layer is not None}
    return LoomPicture(
        columns, tuple(bank for bank, _ in banks), _ticks(places, thickness, layers), threads, boxes,
        tuple(y for row, y in places if row.layer is None), min(starts.values(), default=0.0), pitch, thickness,
        round(max((y for _, y in places), default=0.0) + thickness), layers,
        tuple(starts[layer] + thickness / 2 for layer in sorted(starts)), _table(rows, columns, letters), exact,
        measured,
    )  # fmt: skip


def _places(rows: Sequence[Row], pitch: int) -> list[tuple[Row, float]]:
    """Each row with the top of its cells; rows outside the layers stand a little apart."""
    places, y = [], 0.0
    for index, row in enumerate(rows):
        if index and (row.layer is None) != (rows[index - 1].layer is None):
            y += _OUTSIDE_GAP
        places.append((row, y))
        y += pitch if row.layer is not None else max(pitch, _LABEL)
    return places


def _banks(names: Collection[str]) -> list[tuple[Bank, list[Column]]]:
    """The columns in their banks: attention, MLP, whatever else there is, norms."""
    groups = [[name for name in group if name in names] for group in _GROUPS]
    known = {name for group in _GROUPS for name in group}
    groups.insert(2, [name for name in names if name not in known])
    groups = [group for group in groups if group]
    count = sum(map(len, groups))
    if not count:
        return []
    gaps = _COLUMN_GAP * (count - len(groups)) + _GROUP_GAP * (len(groups) - 1)
    width = round((UNITS - gaps) / count, 1)
    banks, x = [], 0.0
    for group in groups:
        pitch = width + _COLUMN_GAP
        columns = [Column(name, round(x + index * pitch, 1), width) for index, name in enumerate(group)]
        banks.append((Bank(round(x, 1), round(pitch, 1), width, round(len(group) * pitch, 1)), columns))
        x += len(group) * pitch - _COLUMN_GAP + _GROUP_GAP
    return banks


def _boxes(row: Row, columns: Sequence[Column]) -> list[tuple[str, float, float]]:
    """The cells of a row as (module, x, width)."""
    if row.layer is not None:
        return [(column.name, column.x, column.width) for column in columns if column.name in row.cells]
    return [(name, 0, UNITS) for name in list(row.cells)[:1]]


def _weave(
    paths: dict[tuple[int, str], list[str]],
    shares: Sequence[float],
    letters: Sequence[str],
    x: float,
    y: float,
    width: float,
    height: float,
) -> None:
    """A parent is the stronger, the more of all that does not come from the base is its own. A base stays pale, and
    comes last: what the parents add begins at one edge, so that it can be compared from row to row."""
    added = sum(share for letter, share in zip(letters, shares, strict=True) if letter) or 1.0
    for parent in sorted(range(len(shares)), key=lambda parent: not letters[parent]):
        share = shares[parent]
        part = share * width
        if part < 0.5:
            continue
        strength = next(name for limit, name in _STRENGTHS if share / added < limit) if letters[parent] else "s1"
        paths.setdefault((parent, strength), []).append(_box(x, y, part, height))
        x += part


def _box(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.0f} {y:g}h{width:.0f}v{height:g}h-{width:.0f}z"


def _ticks(places: Sequence[tuple[Row, float]], thickness: float, layers: int) -> tuple[Tick, ...]:
    """Labels at the left: the named rows, and about eight layers, the last one among them."""
    step = next(step for step in (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024) if layers / step <= _TICKS + 1)
    ticks = []
    for row, top in places:
        last = row.layer == layers - 1
        near_last = row.layer is not None and not last and layers - 1 - row.layer < step * 0.6
        if row.layer is None or last or (row.layer % step == 0 and not near_last):
            ticks.append(Tick(row.label, round(top + thickness / 2 + 3.5, 1)))
    return tuple(ticks)


def _table(rows: Sequence[Row], columns: Sequence[Column], letters: Sequence[str]) -> tuple[TableRow, ...]:
    names = [column.name for column in columns]
    told = []
    for row in rows:
        shown = names if row.layer is not None else list(row.cells)[:1]
        words = (row.words.get(name) or share_words(row.cells.get(name, ()), letters) for name in shown)
        told.append(TableRow(row.label, tuple(words), wide=row.layer is None))
    return tuple(told)


def share_words(shares: Sequence[float], letters: Sequence[str]) -> str:
    """``A 55, B 45 %``; a base is called base."""
    words = [
        f"{letter or 'base'} {share * 100:.0f}"
        for letter, share in zip(letters, shares, strict=False)
        if share >= 0.005
    ]
    return f"{', '.join(words)} %" if words else ""
