"""What <curve-editor> needs to know. The values themselves stand in the form's fields, where the script reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.planning.layers import position
from app.planning.name_parts import NamePart, name_parts
from app.planning.plan import Plan
from app.planning.shares import places
from app.recipe.catalogue import Parameter
from app.recipe.form import FormView
from app.recipe.knobs import Knob
from app.web.pages.loom_rows import cell_order
from app.web.pages.pictures.loom import HEADER, LoomPicture
from app.web.pages.pictures.threads import thread

_FIRST = ("weight", "t", "scale")
"""The parameters worth showing first."""
_ENOUGH = 12
"""Names of a column that are told: of many experts not each."""


@dataclass(frozen=True, slots=True)
class CurveDesk:
    """The editor beside a loom. ``data`` is JSON: the layers' places and the word before their numbers, the parameters
    with their lines, the modules (with their place where they are a row of the loom), the columns as x, width and
    names. ``letters``: whose lines there are."""

    data: str
    letters: frozenset[str]


def curve_desk(plan: Plan, form: FormView, beside: LoomPicture) -> CurveDesk | None:
    """None where nothing can be drawn: no layers, a stack, a method without curves."""
    parameters = _parameters(form)
    if not parameters or beside.layers < 2:
        return None
    return lay_desk(beside, _layer_word(plan), parameters, _modules(plan, form, beside), _columns(plan))


def lay_desk(
    beside: LoomPicture,
    layer: str,
    parameters: Sequence[Mapping[str, Any]],
    modules: Sequence[Mapping[str, Any]],
    names: Mapping[str, Iterable[str]],
) -> CurveDesk:
    """``layer``: the word before a layer's number; ``names``: column of the loom -> its tensors' names in a layer."""
    said = {
        "layers": beside.layers,
        "layer": layer,
        "header": HEADER,
        "height": beside.height,
        "first": beside.spots[0],
        "last": beside.spots[-1],
        "parameters": parameters,
        "modules": modules,
        "columns": [[one.x, one.width, list(names.get(one.name, ()))[:_ENOUGH]] for one in beside.columns],
    }
    letters = frozenset(line["letter"] for one in parameters for line in one["lines"])
    return CurveDesk(json.dumps(said, separators=(",", ":")), letters - {""})


def _modules(plan: Plan, form: FormView, beside: LoomPicture) -> list[dict[str, Any]]:
    """What the curves can be for, but for layers: groups, columns, rows outside the layers, and filters that have
    values already."""
    known = [*map(_module, plan_parts(plan)), *_outside(plan, beside)]
    filters = dict.fromkeys(rule.filter for _, knob in _knobs(form) for rule in knob.rules)
    others = set(filters) - {one["filter"] for one in known}
    layer = _layer_word(plan) or "\0"
    return known + [_module(NamePart(one, one, one)) for one in filters if one in others and not one.startswith(layer)]


def _module(part: NamePart) -> dict[str, Any]:
    return {"label": part.label, "filter": part.filter, "sample": part.sample}


def _outside(plan: Plan, beside: LoomPicture) -> list[dict[str, Any]]:
    """The rows outside the layers as modules, each with its place in the loom; without those whose tensors have no part
    of a name for themselves."""
    rows: dict[str, list[str]] = {}
    for step, (row, _), (layer, _) in zip(plan.steps(), cell_order(plan), places(plan), strict=True):
        if layer is None:
            rows.setdefault(row, []).append(step.name)
    tops = dict(zip((row.label for row in beside.table if row.wide), beside.wide_rows, strict=True))
    told = []
    for label, names in rows.items():
        others = [step.name for step in plan.steps() if step.name not in names]
        part = next((one for one in _ends(names[0]) if _apart(one, names, others)), None)
        if part and label in tops:
            place = {"y": tops[label], "tall": beside.thickness}
            told.append({"label": label, "filter": part, "sample": names[0], **place})
    return told


def _ends(name: str) -> Iterator[str]:
    """``norm``, then ``model.norm``, of ``model.norm.weight``."""
    words = name.split(".")[:-1]
    return (".".join(words[-count:]) for count in range(1, len(words) + 1))


def _apart(part: str, names: Sequence[str], others: Sequence[str]) -> bool:
    return all(part in name for name in names) and not any(part in name for name in others)


def _layer_word(plan: Plan) -> str:
    """What stands before a layer's number in the tensors' names (``layers.``); empty where stacks differ in it."""
    words = {position(step.name).prefix.rpartition(".")[2] for step in plan.steps() if step.layer is not None}
    return f"{words.pop()}." if len(words) == 1 else ""


def plan_parts(plan: Plan) -> tuple[NamePart, ...]:
    """What a filter may say about the tensors of a result's layers."""
    return name_parts({column: tuple(names) for column, names in _columns(plan).items()})


def _columns(plan: Plan) -> dict[str, dict[str, None]]:
    """Column of the loom -> its tensors' names in a layer, without the layer's number."""
    columns: dict[str, dict[str, None]] = {}
    for step, (layer, column) in zip(plan.steps(), places(plan), strict=True):
        if layer is not None:
            columns.setdefault(column, {})[position(step.name).suffix] = None
    return columns


def _parameters(form: FormView) -> list[dict[str, Any]]:
    """Those that may be curves, each with a line for every field of the form that sets it."""
    lines: dict[str, list[dict[str, str]]] = {}
    kinds: dict[str, Parameter] = {}
    for letter, knob in _knobs(form):
        parameter = knob.parameter
        if parameter.curve and parameter.used and parameter.kind != "boolean":
            kinds[parameter.name] = parameter
            line = {"field": knob.field, "letter": letter, "colour": thread(letter) if letter else ""}
            lines.setdefault(parameter.name, []).append(line)
    order = sorted(kinds, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return [drawn(kinds[name], lines[name]) for name in order]


def _knobs(form: FormView) -> Sequence[tuple[str, Knob]]:
    of_parents = [(parent.letter or "base", knob) for parent in form.parents for knob in parent.knobs]
    return [*of_parents, *(("", knob) for knob in form.shared)]


def drawn(one: Parameter, lines: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A parameter and its lines (``field``, ``letter`` and ``colour``). ``start`` is where one begins that nothing
    sets."""
    start = one.default if isinstance(one.default, (int, float)) else (one.low + one.high) / 2
    return {
        "name": one.name, "low": one.low, "high": one.high, "step": one.step, "min": one.minimum, "max": one.maximum,
        "start": start, "lines": lines,
    }  # fmt: skip
