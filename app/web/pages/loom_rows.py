"""From a plan to the loom and the curves beside it."""

from __future__ import annotations

from collections.abc import Sequence

from app.planning.plan import MadeTensor, Plan
from app.planning.shares import Cell, Loom, LoomRow, loom, other_looms, places
from app.recipe.form import FormView
from app.web.pages.pictures import curves
from app.web.pages.pictures import loom as picture
from app.web.rendering import degrees

_SHORT = {"embeddings": "embed", "final norm": "norm"}
_CURVED = ("weight", "t", "scale")
"""The parameter worth a curve, the first that the plan has."""


def loom_picture(plan: Plan, letters: Sequence[str]) -> picture.LoomPicture:
    """The loom of a plan. ``letters``: one for each of ``plan.parents``, empty for a base."""
    return told_picture(loom(plan), letters)


def other_pictures(plan: Plan, letters: Sequence[str]) -> tuple[tuple[str, picture.LoomPicture], ...]:
    """The plan's other stacks by their names, layer by layer."""
    return tuple((name, told_picture(one, letters)) for name, one in other_looms(plan).items())


def told_picture(told: Loom, letters: Sequence[str]) -> picture.LoomPicture:
    """The same of what is known already, which may be the loom of a finished merge."""
    return picture.draw(loom_rows(told, letters), letters, exact=told.exact, measured=told.measured)


def cell_order(plan: Plan) -> list[tuple[str, str]]:
    """For each tensor, in the order they are written, the cell of the loom it belongs to."""
    return [(_short(place) if layer is None else str(layer), place) for layer, place in places(plan)]


def loom_rows(told: Loom, letters: Sequence[str]) -> list[picture.Row]:
    """The rows from the top down: the last layer first, as a model is drawn."""
    return [_row(row, told, letters) for row in reversed(told.rows)]


def _row(row: LoomRow, told: Loom, letters: Sequence[str]) -> picture.Row:
    outside = row.layer is None
    names = [row.label] if outside else told.columns
    cells = {name: cell for name, cell in zip(names, row.cells, strict=True) if cell is not None}
    words = {name: found_words(cell, letters) for name, cell in cells.items() if cell.found}
    shares = {name: cell.shares for name, cell in cells.items()}
    return picture.Row(_short(row.label) if outside else row.label, row.layer, shares, words)


def found_words(cell: Cell, letters: Sequence[str], *, turned: bool = True) -> str:
    """``A 0.54, B 0.54, 43°``, the coefficients, and with ``turned`` the angle; ``A 55, B 45 %`` where there are only
    shares."""
    if cell.found is None:
        return picture.share_words(cell.shares, letters)
    factors = zip(letters, cell.found.coefficients, strict=True)
    words = [f"{letter or 'base'} {_factor(factor)}" for letter, factor in factors if factor]
    if turned and cell.found.angle is not None:
        words.append(degrees(cell.found.angle))
    return ", ".join(words)


def _factor(value: float) -> str:
    """Never a negative zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _short(label: str) -> str:
    return _SHORT.get(label, label if len(label) < 9 else f"{label[:6]}…")


def letters_of(plan: Plan, form: FormView) -> list[str]:
    """The letter of each of the plan's parents."""
    letters = {str(parent.model): parent.letter for parent in form.parents}
    return [letters.get(facts.ref, "") for facts in plan.parents]


def curve_picture(plan: Plan, letters: Sequence[str], beside: picture.LoomPicture) -> curves.CurvePicture | None:
    """The main parameter over the layers: its mean over a layer's tensors, and called so where they have several
    values; one line a parent. None when the method has no such parameter or the model no layers."""
    name = next((name for name in _CURVED if _values(plan, name)), None)
    if name is None or beside.layers < 2:
        return None
    lines = [
        curves.Line(letters[parent] if parent is not None else "", tuple(line))
        for parent, line in sorted(_lines(plan, name, beside.layers).items(), key=lambda item: item[0] or 0)
    ]
    return curves.draw(f"mean {name}" if _several(plan, name) else name, lines, beside.spots, beside.height)


def _several(plan: Plan, name: str) -> bool:
    """Whether tensors of one layer and parent have different values of a parameter."""
    values = {(layer, parent, value) for layer, parent, value, _ in _values(plan, name)}
    return len(values) > len({(layer, parent) for layer, parent, _ in values})


def _lines(plan: Plan, name: str, layers: int) -> dict[int | None, list[float]]:
    """Parent (None for a parameter of the whole tensor) -> a value a layer; parents without one for every layer are
    left out."""
    sums: dict[int | None, dict[int, list[float]]] = {}
    for layer, parent, value, times in _values(plan, name):
        so_far = sums.setdefault(parent, {}).setdefault(layer, [0.0, 0.0])
        so_far[:] = so_far[0] + value * times, so_far[1] + times
    return {
        parent: [by_layer[layer][0] / by_layer[layer][1] for layer in range(layers)]
        for parent, by_layer in sums.items()
        if set(by_layer) >= set(range(layers))
    }


def _values(plan: Plan, name: str) -> list[tuple[int, int | None, float, int]]:
    """(layer, parent, value, how many tensors have it)."""
    found: list[tuple[int, int | None, float, int]] = []
    for step in plan.steps():
        if step.layer is None:
            continue
        if name in step.parameters:
            found.append((step.layer, None, float(step.parameters[name]), step.alike))
        found += [
            (step.layer, one.parent, float(one.parameters[name]), step.alike)
            for one in step.inputs
            if name in one.parameters and not isinstance(one.tensor, MadeTensor)  # which is no single parent's
        ]
    return found
