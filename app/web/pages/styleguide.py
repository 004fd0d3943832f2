"""``/styleguide``: every component in every state, for people who change the look and for the tests that check it."""

from __future__ import annotations

import time
from math import exp, sin
from types import MappingProxyType

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.comparing.comparison import Place
from app.comparing.measures import MEASURES
from app.experts.wanted import Expert, WantedMixture
from app.recipe.catalogue import METHODS, Parameter
from app.recipe.findings import Finding
from app.recipe.form import view
from app.recipe.knobs import FilterField, Knob
from app.recipe.schema import ModelRef, Recipe, Rule, Slice, Source
from app.web.dependencies import TemplatesDep
from app.web.pages.comparison_view import Numbers
from app.web.pages.curve_desk import CurveDesk, drawn, lay_desk
from app.web.pages.expert_rows import row_of
from app.web.pages.job_stages import StageView
from app.web.pages.pictures import curves, heatmap, loom, mixture, sparkline, stack
from app.web.pages.pictures.method import example
from app.web.pages.pictures.threads import COLOURS, thread
from app.web.pages.stack_desk import StackDesk, stack_desk
from app.web.pages.workers import WorkersPill

router = APIRouter(include_in_schema=False)

_COLUMNS = ("q", "k", "v", "o", "gate", "up", "down", "norm")
_LAYERS = 24


@router.get("/styleguide")
def show(request: Request, templates: TemplatesDep) -> HTMLResponse:
    picture = _loom()
    return templates.page(
        request, "pages/styleguide.html",
        colours=[("base", "t-base"), *((letter, thread(letter)) for letter in COLOURS)],
        knobs=_knobs(), findings=_findings(), stages=_stages(), now=time.time(),
        loom=picture, cover=picture.cover((str(layer), name) for layer in range(14, _LAYERS) for name in _COLUMNS),
        curves=_curves(picture), vectors=[(method, example(method)) for method in METHODS.values()],
        blocks=stack.sample(), stacks=_stack(),
        spark=sparkline.draw([1.0 + 0.3 * sin(index / 4) for index in range(60)]),
        workers=WorkersPill("1 worker · CPU", "good", 1), heats=_heats(), numbers=_numbers(), desk=_desk(picture),
        expert=row_of(_EXPERTS[0]), mixtures=_mixtures(),
    )  # fmt: skip


_EXPERTS = (
    Expert(ModelRef("owner/code"), ("Write a loop over two lists in Python.", "Explain this traceback."), ("Sing.",)),
    Expert(ModelRef("owner/verse"), ("Write a poem about the sea.",)),
)


def _mixtures() -> tuple[mixture.MixturePicture, ...]:
    """One with a shared expert and routers made from prompts; one whose depth is not known, with routers drawn."""
    base = ModelRef("owner/base")
    made = WantedMixture(base, _EXPERTS, (Expert(base, ("Hello.",)),))
    return mixture.draw(made, _LAYERS), mixture.draw(WantedMixture(base, _EXPERTS, gate_mode="random"))


def _shares(layer: int) -> tuple[float, ...]:
    """A bump of A below, of B in the middle, of C on top, on a fifth of base."""
    parts = [0.2, *(0.1 + exp(-(((layer / _LAYERS - centre) / 0.22) ** 2)) for centre in (0.2, 0.55, 0.95))]
    return tuple(part / sum(parts) for part in parts)


def _loom() -> loom.LoomPicture:
    rows = [loom.Row("head", None, {"head": _shares(_LAYERS)})]
    rows += [loom.Row(str(layer), layer, dict.fromkeys(_COLUMNS, _shares(layer))) for layer in reversed(range(_LAYERS))]
    rows.append(loom.Row("embed", None, {"embed": _shares(0)}))
    return loom.draw(rows, ["", "A", "B", "C"])


def _curves(picture: loom.LoomPicture) -> curves.CurvePicture | None:
    lines = [
        curves.Line(letter, tuple(_shares(layer)[index + 1] for layer in range(_LAYERS)))
        for index, letter in enumerate("ABC")
    ]
    return curves.draw("weight", lines, picture.spots, picture.height)


def _desk(picture: loom.LoomPicture) -> CurveDesk:
    """The editor of three lines, beside the sample loom."""
    weight = Parameter("weight", "How much of this parent goes in.", curve=True)
    lines = [{"field": f"sg-{letter}", "letter": letter, "colour": thread(letter)} for letter in "ABC"]
    names = {name: [f"{name}_proj.weight"] for name in _COLUMNS}
    modules = [{"label": name, "filter": f"{name}_proj", "sample": names[name][0]} for name in _COLUMNS]
    return lay_desk(picture, "layers.", [drawn(weight, lines)], modules, names)


def _heats() -> list[tuple[str, heatmap.HeatMap]]:
    """One way and both ways, with a cell that was chosen, one where nothing was measured, and one that is not there;
    and one too tall for numbers."""
    share, cosine = MEASURES["sign_conflict"], MEASURES["cosine_deltas"]
    places = [(layer, name) for layer in range(6) for name in _COLUMNS[:-1]]
    told: dict[Place, float | None] = {
        place: 0.5 + 0.45 * sin(index / 3) for index, place in enumerate(places) if place != (2, "gate")
    }
    told |= {(4, "up"): None, (None, "embeddings"): 0.2, (None, "head"): 0.7}
    both = {place: None if value is None else value * 2 - 1 for place, value in told.items()}
    tall: dict[Place, float | None] = {(layer, name): layer / 100 for layer in range(80) for name in _COLUMNS[:3]}
    rows = ["embeddings", *range(6), "head"]
    return [
        (share.title, heatmap.lay_out(share, told, rows, _COLUMNS[:-1], (3, "v"))),
        (cosine.title, heatmap.lay_out(cosine, both, rows, _COLUMNS[:-1])),
        ("Of many layers", heatmap.lay_out(share, tall, range(80), _COLUMNS[:3])),
    ]


def _numbers() -> Numbers:
    lines = (("Opposite signs", ("38 %", "12 %")), ("Size of the change", ("0.81 %", "—")))
    return Numbers("model.layers.3.mlp.up_proj.weight", "576 × 1536, BF16; 64 of its rows were read.", lines)


def _stack() -> StackDesk:
    """Blocks of two parents with every kind of joint, the topmost blended, with a curve and a filter."""
    one, two = ModelRef("owner/one"), ModelRef("owner/two")
    runs = ((one, 0, 8), (two, 8, 12), (two, 14, 20), (two, 4, 10), (one, 6, 6))
    curve = MappingProxyType({"weight": (Rule(0.3, "mlp"), Rule((0.2, 0.9)))})
    blend = Slice((Source(one, (8, 24), curve), Source(two, (8, 24))))
    slices = (*(Slice((Source(model, (first, end)),)) for model, first, end in runs), blend)
    recipe = Recipe("linear", slices=slices, parameters=MappingProxyType({"weight": (Rule(0.5),)}))
    return stack_desk(recipe, view(recipe), {one: 24, two: 24}, None)


def _knobs() -> list[tuple[str, Knob, str]]:
    weight = Parameter("weight", "How much of this parent goes in.")
    switch = Parameter("normalize", "Divide by the sum of the weights.", kind="boolean")
    long = Parameter("select_topk", "The share of weights that may change.")
    rule = FilterField("mlp", "parent.3.weight|mlp", "0.2, 0.8")
    return [
        ("a number", Knob(weight, "parent.0.weight", "0.6", 0.6), ""),
        ("a curve", Knob(weight, "parent.1.weight", "0.25, 0.85, 0.4", None), ""),
        ("a long name", Knob(long, "shared.select_topk", "0.3", 0.3), ""),
        ("a problem", Knob(weight, "parent.2.weight", "1.7", 1.7), '"weight" must be between 0 and 1, not 1.7.'),
        ("with filters", Knob(weight, "parent.3.weight", "0.5", 0.5, rules=(rule,)), ""),
        ("a switch set by filters", Knob(switch, "shared.ruled", "", None, ruled=True), ""),
        ("a switch, on", Knob(switch, "shared.on", "true", True), ""),
        ("a switch, off", Knob(switch, "shared.off", "false", False), ""),
    ]


def _findings() -> tuple[Finding, ...]:
    return (
        Finding(
            "error", "layers-differ", "models[1]", "Two has 28 layers, the base has 32.", "Pick parents of one size."
        ),
        Finding("warning", "licences-differ", "", "The licence of One does not allow commercial use."),
        Finding("info", "dtypes-differ", "dtype", "The parents are bf16 and fp32.", "Set dtype: bfloat16."),
        Finding("info", "same-architecture", "", "Same architecture, 291 of 291 tensors line up."),
    )


def _stages() -> tuple[StageView, ...]:
    return (
        StageView("Checked", "done", "1 s"),
        StageView("Downloading", "now", "12.1 of 32.2 GB"),
        StageView("Merge", "failed", "failed here"),
        StageView("Verify", "skipped", "stopped here"),
        StageView("Publish", "ahead", ""),
    )
