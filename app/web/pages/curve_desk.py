"""What <curve-editor> needs to know. The values themselves stand in the form's fields, where the script reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.planning.layers import position
from app.planning.name_parts import NamePart, name_parts
from app.planning.plan import Plan
from app.planning.shares import places
from app.recipe.catalogue import Parameter
from app.recipe.form import FormView
from app.recipe.knobs import Knob
from app.web.pages.pictures.loom import HEADER, LoomPicture
from app.web.pages.pictures.threads import thread

_FIRST = ("weight", "t", "scale")
"""The parameters worth showing first."""


@dataclass(frozen=True, slots=True)
class CurveDesk:
    """The editor beside a loom. ``data`` is JSON: the layers' places and the word before their numbers, the parameters
    with their lines, the modules, the loom's columns as x, width and the names in them. ``letters``: whose lines there
    are."""

    data: str
    letters: frozenset[str]


def curve_desk(plan: Plan, form: FormView, beside: LoomPicture) -> CurveDesk | None:
    """None where nothing can be drawn: no layers, a stack, a method without curves."""
    parameters = _parameters(form)
    if not parameters or beside.layers < 2:
        return None
    names = _columns(plan)
    said: dict[str, Any] = {
        "layers": beside.layers,
        "layer": _layer_word(plan),
        "header": HEADER,
        "height": beside.height,
        "first": beside.spots[0],
        "last": beside.spots[-1],
        "parameters": parameters,
        "modules": [_module(one) for one in plan_parts(plan)],
        "columns": [[one.x, one.width, list(names[one.name])] for one in beside.columns],
    }
    letters = frozenset(line["letter"] for one in parameters for line in one["lines"])
    return CurveDesk(json.dumps(said, separators=(",", ":")), letters - {""})


def _module(part: NamePart) -> dict[str, Any]:
    return {"label": part.label, "filter": part.filter, "sample": part.sample, "group": part.group}


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
    return [_parameter(kinds[name], lines[name]) for name in order]


def _knobs(form: FormView) -> Sequence[tuple[str, Knob]]:
    of_parents = [(parent.letter or "base", knob) for parent in form.parents for knob in parent.knobs]
    return [*of_parents, *(("", knob) for knob in form.shared)]


def _parameter(one: Parameter, lines: list[dict[str, str]]) -> dict[str, Any]:
    """``start`` is where a line begins that nothing sets."""
    start = one.default if isinstance(one.default, (int, float)) else (one.low + one.high) / 2
    return {
        "name": one.name, "low": one.low, "high": one.high, "step": one.step, "min": one.minimum, "max": one.maximum,
        "start": start, "lines": lines,
    }  # fmt: skip
