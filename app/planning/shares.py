"""How much of each parent ends up in a tensor, for drawing: one number a parent, adding up to 1.

The shares are those of the formula with the values the engine uses, as if all changes were equally large. What
depends on the weights themselves (angles, signs, sizes) is not known before the merge: see ``DATA_DEPENDENT``. After
it the engine's own coefficients are, for some methods: see ``mixture.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from app.planning.layers import Structure, module_of, natural_key, position, read_structure
from app.planning.mixture import NOTHING_FOUND, Mixtures, every_step, mixture_of
from app.planning.module_names import EMBEDDINGS, FINAL_NORM, HEAD, column_key, outside_layers
from app.planning.plan import Input, LaidOutTensor, MadeTensor, Plan, Step, Values
from app.planning.woven import Apart, Found, apart, found_in

DATA_DEPENDENT = frozenset({"model_stock", "sce", "nearswap", "arcee_fusion", "ram", "ramplus_tl"})
"""Methods whose shares only the weights decide; drawn as equal."""
CONSENSUS = ("consensus_ta", "consensus_ties")
"""Methods whose weights say who has a say, and only the numbers themselves where: drawn as if it were everywhere."""
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Cell:
    """Average shares over a cell's tensors, one for each of ``Plan.parents``, weighted by their elements. ``found``:
    what the merge made of it."""

    shares: tuple[float, ...]
    elements: int
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class LoomRow:
    """A layer (``cells``: one a column, None where it has no such module), or something outside the layers
    (``layer`` is None, a single cell)."""

    label: str
    layer: int | None
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Loom:
    """Rows in the order a model runs: embeddings, layers from 0, then what follows. ``exact`` is False when the
    shares depend on the weights, and these have not told. ``measured``: of some tensors at least they have. Then
    ``whole`` is the model as one cell, and ``apart`` is how far apart the parents are."""

    columns: tuple[str, ...]
    rows: tuple[LoomRow, ...]
    exact: bool = True
    measured: bool = False
    whole: Cell | None = None
    apart: Apart | None = None


def shares(step: Step, mixtures: Mixtures = NOTHING_FOUND, document: str = "") -> tuple[float, ...]:
    """The share of each of ``step.every_input``: none negative, together 1. ``document`` makes the step's tensor."""
    mixture = mixture_of(step, mixtures, document)
    if mixture is not None:
        return _parts([abs(one) for one in mixture.coefficients])
    inputs = [one.parameters for one in step.inputs]
    return shares_of(step.method, step.parameters, inputs, based=step.base is not None)


def shares_of(method: str, parameters: Values, inputs: Sequence[Values], *, based: bool) -> tuple[float, ...]:
    """The same from the values alone; ``based``: the base stands before the inputs."""
    count = len(inputs) + based
    if method in DATA_DEPENDENT or method == "karcher":
        found = [1.0] * count
    elif method == "slerp":
        t = float(parameters["t"])
        found = [abs(1 - t), abs(t)]
    elif method == "transfer":
        strength = float(parameters.get("lambda", 1.0))
        found = [0.0, 1.0, *(abs(strength * _number(one, "weight", 1.0)) for one in inputs[1:])]
    elif based:
        found = _with_base(method, parameters, inputs)
    else:
        found = [abs(_number(one, "weight", 1.0)) for one in inputs]
    return _parts(found)


def _parts(found: Sequence[float]) -> tuple[float, ...]:
    """As parts of their sum; equal ones where that is nothing."""
    total = sum(found)
    return tuple(one / total for one in found) if total > _TINY else (1 / len(found),) * len(found)


def spread(step: Step, mixtures: Mixtures = NOTHING_FOUND, document: str = "") -> Iterator[tuple[int, float]]:
    """(parent, share), together 1: an input that another document makes is shared out among what it is made of."""
    for share, one in zip(shares(step, mixtures, document), step.every_input, strict=True):
        yield from ((parent, share * inner) for parent, inner in _made_of(one, mixtures))


def _made_of(one: Input, mixtures: Mixtures) -> Iterator[tuple[int, float]]:
    if isinstance(one.tensor, LaidOutTensor):
        yield from _made_of(one.tensor.origin, mixtures)
    elif isinstance(one.tensor, MadeTensor):
        yield from spread(one.tensor.made_by, mixtures, one.tensor.file)
    else:
        yield one.parent, 1.0


def loom(plan: Plan, mixtures: Mixtures = NOTHING_FOUND) -> Loom:
    """Every layer's modules, and what lies outside the layers, with the average shares of all parents. ``mixtures``:
    what a finished merge tells."""
    structure = _structure(plan)
    groups: dict[tuple[int | None, str], list[Step]] = {}
    for step in plan.steps():
        groups.setdefault(_place(step, structure), []).append(step)
    cells = {place: _cell(steps, len(plan.parents), mixtures) for place, steps in groups.items()}
    columns, rows = _layers(cells)
    outside = [LoomRow(name, None, (cells[None, name],)) for layer, name in groups if layer is None]
    before = [row for row in outside if row.label == EMBEDDINGS]
    after = sorted((row for row in outside if row.label != EMBEDDINGS), key=_after_order)
    exact = not any(
        step.method in (*DATA_DEPENDENT, *CONSENSUS) and mixture_of(step, mixtures, document) is None
        for document, step in every_step(plan)
    )
    every = (*before, *rows, *after)
    if not mixtures:
        return Loom(columns, every, exact)
    whole = _cell(list(plan.steps()), len(plan.parents), mixtures)
    return Loom(columns, every, exact, True, whole, apart(plan.steps(), mixtures))


def other_looms(plan: Plan) -> dict[str, Loom]:
    """The stacks besides the one that ``loom`` has layer by layer, by their names and likewise: an encoder, the way
    down of a U-Net. What lies outside of layers is not in them."""
    main = _structure(plan).main
    stacks: dict[str, dict[tuple[int | None, str], list[Step]]] = {}
    for step in plan.steps():
        prefix = position(step.name).prefix
        if step.layer is not None and prefix != main:
            stacks.setdefault(prefix, {}).setdefault((step.layer, module_of(step.name)), []).append(step)
    return {
        prefix: Loom(*_layers({place: _cell(steps, len(plan.parents), NOTHING_FOUND) for place, steps in one.items()}))
        for prefix, one in stacks.items()
    }


def _layers(cells: Mapping[tuple[int | None, str], Cell]) -> tuple[tuple[str, ...], tuple[LoomRow, ...]]:
    """Columns, and a row for each layer, out of the cells by layer and module."""
    columns = tuple(sorted({module for layer, module in cells if layer is not None}, key=column_key))
    layers = sorted({layer for layer, _ in cells if layer is not None})
    rows = (LoomRow(str(layer), layer, tuple(cells.get((layer, one)) for one in columns)) for layer in layers)
    return columns, tuple(rows)


def places(plan: Plan) -> list[tuple[int | None, str]]:
    """For each step, in the order they are written: its layer and column, or None and its row outside the layers."""
    structure = _structure(plan)
    return [_place(step, structure) for step in plan.steps()]


def _with_base(method: str, parameters: Values, inputs: Sequence[Values]) -> list[float]:
    """Base plus weighted changes: what the changes do not take is the base's."""
    weights = [_number(one, "weight", 1.0) for one in inputs]
    normalised = parameters.get("normalize", parameters.get("normalize_weights", method == "nuslerp"))
    divisor = sum(map(abs, weights)) if normalised is True else 1.0
    strength = float(parameters.get("lambda", 1.0)) / (divisor if divisor > _TINY else 1.0)
    taken = [
        abs(weight * strength) * min(max(_number(one, "density", 1.0), 0.0), 1.0)
        for weight, one in zip(weights, inputs, strict=True)
    ]
    return [max(0.0, 1 - sum(taken)), *taken]


def _number(values: Values, name: str, default: float) -> float:
    return float(values.get(name, default))


def _structure(plan: Plan) -> Structure:
    """The layers of a parent whose weights go in and whose layers are called as the result's."""
    stacks = {position(step.name).prefix for step in plan.steps() if step.layer is not None}
    found: dict[int, Structure] = {}
    for parent in (one.parent for step in plan.steps() for one in step.read):
        if parent not in found:
            found[parent] = read_structure(plan.parents[parent])
            if found[parent].main in stacks:
                return found[parent]
    return next(iter(found.values()), None) or read_structure(plan.parents[0])


def _place(step: Step, structure: Structure) -> tuple[int | None, str]:
    """(layer, column) in the main stack, else (None, row): a whole other stack is one row."""
    place = position(step.name)
    if step.layer is not None and place.prefix == structure.main:
        return step.layer, module_of(step.name)
    return None, place.prefix if step.layer is not None else outside_layers(step.name)


def _cell(steps: list[Step], parents: int, mixtures: Mixtures) -> Cell:
    sums = [0.0] * parents
    elements = 0
    for step in steps:
        size = max(1, prod(step.shape)) * step.alike
        elements += size
        for parent, share in spread(step, mixtures):
            sums[parent] += share * size
    return Cell(tuple(one / elements for one in sums), elements, found_in(steps, parents, mixtures))


def _after_order(row: LoomRow) -> tuple[int, object]:
    return {FINAL_NORM: 1, HEAD: 2}.get(row.label, 0), natural_key(row.label)
