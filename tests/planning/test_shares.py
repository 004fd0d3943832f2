"""How much of each parent ends up where."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.planning.facts import TensorFacts
from app.planning.layers import position
from app.planning.mixture import Mixture
from app.planning.plan import Input, Step
from app.planning.plan_merge import make_plan
from app.planning.shares import loom, other_looms, shares
from app.planning.woven import Found
from app.recipe.catalogue import METHODS
from tests.planning.models import facts, family, llama_config, llama_shapes, recipe

TENSOR = TensorFacts("w", "F32", (4,), "f", 8, 24)


def step(method: str, values: list[dict], shared: dict | None = None, base: bool = False) -> Step:
    inputs = tuple(Input(number + base, TENSOR, one) for number, one in enumerate(values))
    return Step("w", "F32", (4,), method, inputs, Input(0, TENSOR) if base else None, shared or {})


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (step("copy", [{}]), (1,)),
        (step("passthrough", [{"scale": 0.0}]), (1,)),
        (step("linear", [{"weight": 0.75}, {"weight": 0.25}], {"normalize": True}), (0.75, 0.25)),
        (step("linear", [{"weight": 3}, {"weight": 1}], {"normalize": False}), (0.75, 0.25)),
        (step("linear", [{"weight": 1}, {"weight": -1}], {"normalize": False}), (0.5, 0.5)),
        (step("slerp", [{}], {"t": 0.3}, base=True), (0.7, 0.3)),
        (step("slerp", [{}], {"t": 0.0}, base=True), (1, 0)),
        (step("nuslerp", [{"weight": 1}, {"weight": 3}]), (0.25, 0.75)),
        (step("nuslerp", [{"weight": 1}, {"weight": 3}], base=True), (0, 0.25, 0.75)),
        (step("karcher", [{}, {}, {}]), (1 / 3, 1 / 3, 1 / 3)),
        (step("model_stock", [{}, {}, {}], base=True), (0.25,) * 4),
        (step("task_arithmetic", [{"weight": 0.3}, {"weight": 0.2}], {"lambda": 1.0, "normalize": False}, True),
         (0.5, 0.3, 0.2)),
        (step("task_arithmetic", [{"weight": 0.3}, {"weight": 0.2}], {"lambda": 0.5, "normalize": False}, True),
         (0.75, 0.15, 0.1)),
        (step("task_arithmetic", [{"weight": 2}, {"weight": 2}], {"lambda": 1.0, "normalize": False}, True),
         (0, 0.5, 0.5)),
        (step("ties", [{"weight": 1, "density": 0.5}, {"weight": 1, "density": 1.0}],
              {"lambda": 1.0, "normalize": True}, True), (0.25, 0.25, 0.5)),
        (step("ties", [{"weight": 0.0, "density": 0.5}], {"lambda": 1.0, "normalize": True}, True), (1, 0)),
    ],
)  # fmt: skip
def test_shares(made: Step, expected: tuple[float, ...]):
    assert shares(made) == pytest.approx(expected)


numbers = st.floats(-5, 5, allow_nan=False)


@given(st.sampled_from(sorted(METHODS)), st.lists(st.tuples(numbers, st.floats(0, 1)), min_size=1, max_size=5),
       numbers, numbers, st.booleans())  # fmt: skip
def test_shares_are_shares(method: str, values: list, t: float, strength: float, normalize: bool):
    base = METHODS[method].base == "required"
    made = step(
        method,
        [{"weight": weight, "density": density} for weight, density in (values[:1] if method == "slerp" else values)],
        {"t": t, "lambda": strength, "normalize": normalize},
        base,
    )
    found = shares(made)
    assert len(found) == len(made.every_input)
    assert all(share >= 0 for share in found)
    assert sum(found) == pytest.approx(1)


CURVED = """
merge_method: linear
models:
- {model: o/a, parameters: {weight: [0, 1]}}
- {model: o/b, parameters: {weight: [1, 0]}}
"""


def test_loom():
    woven = loom(make_plan(recipe(CURVED), family(*(facts(f"o/{x}", llama_shapes(3)) for x in "ab"))))
    assert woven.columns == ("q", "k", "v", "o", "gate", "up", "down", "norm")
    assert [row.label for row in woven.rows] == ["embeddings", "0", "1", "2", "final norm", "head"]
    assert [row.layer for row in woven.rows] == [None, 0, 1, 2, None, None]
    first, middle, last = (woven.rows[i].cells[0] for i in (1, 2, 3))
    assert first is not None
    assert first.shares == (0, 1)
    assert middle is not None
    assert middle.shares == (0.5, 0.5)
    assert last is not None
    assert last.shares == (1, 0)
    assert last.elements == 64
    assert len(woven.rows[0].cells) == 1
    assert woven.exact


def test_loom_folds_experts_and_leaves_gaps():
    shapes = llama_shapes(2)
    for name in [name for name in shapes if name.startswith("model.layers.1.mlp")]:
        del shapes[name]
    shapes |= {f"model.layers.1.mlp.experts.{i}.up_proj.weight": (4, 4) for i in range(8)}
    shapes["model.layers.1.mlp.gate.weight"] = (8, 8)
    woven = loom(make_plan(recipe(CURVED), family(*(facts(f"o/{x}", shapes, llama_config(2)) for x in "ab"))))
    cells = {(row.layer, column): cell for row in woven.rows if row.layer is not None
             for column, cell in zip(woven.columns, row.cells, strict=True)}  # fmt: skip
    assert woven.columns == ("q", "k", "v", "o", "gate", "up", "down", "router", "norm")
    up = cells[1, "up"]
    assert up is not None
    assert up.elements == 8 * 16
    assert cells[1, "gate"] is None
    assert cells[0, "router"] is None


def test_loom_of_several_stacks_has_the_main_one_in_layers():
    shapes = {
        f"vision.{name}": shape for name, shape in llama_shapes(5, hidden=4).items() if position(name).layer is not None
    }
    shapes |= llama_shapes(3)
    config = {"text_config": {"num_hidden_layers": 3}, "vision_config": {"num_hidden_layers": 5}}
    woven = loom(make_plan(recipe(CURVED), family(*(facts(f"o/{x}", shapes, config) for x in "ab"))))
    assert [row.label for row in woven.rows if row.layer is not None] == ["0", "1", "2"]
    assert "vision.model.layers" in [row.label for row in woven.rows if row.layer is None]


def test_every_other_stack_has_a_loom_of_its_own():
    stack = {name: shape for name, shape in llama_shapes(5, hidden=4).items() if position(name).layer is not None}
    shapes = {f"{side}.{name}": shape for side in ("vision", "sound") for name, shape in stack.items()}
    config = {"text_config": {"num_hidden_layers": 3}, "vision_config": {"num_hidden_layers": 5}}
    place = "vision.model.layers.1."
    models = "".join(
        f"- model: o/{x}\n  parameters: {{weight: [{{filter: {place}, value: {value}}}, {{value: 1}}]}}\n"
        for x, value in (("a", 1), ("b", 3))
    )
    parents = family(*(facts(f"o/{x}", shapes | llama_shapes(3), config) for x in "ab"))
    made = make_plan(recipe(f"merge_method: linear\nmodels:\n{models}"), parents)
    others = other_looms(made)
    assert set(others) == {"vision.model.layers", "sound.model.layers"}
    wholes = {row.label: row.cells[0] for row in loom(made).rows if row.layer is None}
    for name, woven in others.items():
        assert [row.layer for row in woven.rows] == list(range(5))
        assert woven.columns == ("q", "k", "v", "o", "gate", "up", "down", "norm")
        inside = [cell for row in woven.rows for cell in row.cells if cell]
        assert sum(cell.elements for cell in inside) == wholes[name].elements
        expected = (0.25, 0.75) if name.startswith("vision") else (0.5, 0.5)
        assert {cell.shares for cell in woven.rows[1].cells} == {expected}
        assert {cell.shares for row in woven.rows[2:] for cell in row.cells} == {(0.5, 0.5)}
    assert other_looms(make_plan(recipe(CURVED), family(*(facts(f"o/{x}", llama_shapes(3)) for x in "ab")))) == {}


def test_loom_of_a_stack():
    text = """
merge_method: passthrough
slices:
- sources: [{model: o/a, layer_range: [0, 3]}]
- sources: [{model: o/b, layer_range: [1, 4]}]
"""
    woven = loom(make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab"))))
    layers = [row for row in woven.rows if row.layer is not None]
    assert [cell.shares for row in layers for cell in row.cells[:1] if cell] == [(1, 0)] * 3 + [(0, 1)] * 3


def test_methods_that_only_the_weights_decide_are_marked():
    text = "merge_method: model_stock\nbase_model: o/base\nmodels: [{model: o/a}, {model: o/b}]\n"
    made = make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b"))))
    assert not loom(made).exact


SLERP = """
merge_method: slerp
base_model: o/a
models: [{model: o/a}, {model: o/b}]
parameters: {t: 0.5}
"""


def test_after_the_merge_the_coefficients_are_drawn():
    made = make_plan(recipe(SLERP), family(*(facts(f"o/{x}", llama_shapes(2)) for x in "ab")))
    names = [one.name for one in made.steps()]
    found = {("", name): Mixture(name, (-0.2, 0.6), (30.0,)) for name in names}
    found |= {("", name): Mixture(name, (0.5, 0.75), (90.0,)) for name in names if ".1.mlp.up_proj" in name}
    found["", "model.norm.weight"] = Mixture("model.norm.weight", (1.0, 0.0), (None,))
    woven = loom(made, found)
    cells = {(row.label, column): cell for row in woven.rows[1:3]
             for column, cell in zip(woven.columns, row.cells, strict=True)}  # fmt: skip
    q, up = cells["0", "q"], cells["1", "up"]
    assert q is not None
    assert up is not None
    assert q.shares == pytest.approx((0.25, 0.75))
    assert q.found == Found((-0.2, 0.6), 30.0)
    assert up.shares == pytest.approx((0.4, 0.6))
    assert up.found == Found((0.5, 0.75), 90.0)
    norm = woven.rows[-2].cells[0]
    assert norm is not None
    assert norm.found == Found((1.0, 0.0), None)
    assert woven.measured
    assert woven.apart is not None
    assert (woven.apart.least, woven.apart.most, woven.apart.changes) == (30.0, 90.0, False)
    assert woven.whole is not None
    assert woven.whole.elements == made.parameters
    assert woven.whole.found is not None
    sizes = {name: prod(one.shape) for name, one in ((one.name, one) for one in made.steps())}
    means = [sum(found["", name].coefficients[i] * size for name, size in sizes.items()) for i in range(2)]
    assert woven.whole.found.coefficients == pytest.approx([one / sum(sizes.values()) for one in means])


def test_coefficients_that_do_not_fit_are_not_drawn():
    made = make_plan(recipe(SLERP), family(*(facts(f"o/{x}", llama_shapes(2)) for x in "ab")))
    woven = loom(made, {("", one.name): Mixture(one.name, (0.1, 0.2, 0.7)) for one in made.steps()})
    cells = [cell for row in woven.rows for cell in row.cells if cell is not None]
    assert {cell.shares for cell in cells} == {(0.5, 0.5)}
    assert {cell.found for cell in cells} == {None}
    assert woven.apart is None


def test_changes_from_a_base_are_told_as_such_and_the_method_has_decided():
    text = "merge_method: model_stock\nbase_model: o/base\nmodels: [{model: o/a}, {model: o/b}]\n"
    made = make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b"))))
    found = {("", one.name): Mixture(one.name, (0.5, 0.25, 0.25), (60.0,)) for one in made.steps()}
    assert loom(made, found).exact
    told = loom(made, found).apart
    assert told is not None
    assert (told.mean, told.changes) == (60.0, True)
    first = next(iter(found))
    assert not loom(made, {key: one for key, one in found.items() if key != first}).exact


def test_where_each_weight_decides_only_shares_are_told():
    text = "merge_method: sce\nbase_model: o/base\nmodels: [{model: o/a}, {model: o/b}]\n"
    made = make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes(1)) for x in ("base", "a", "b"))))
    woven = loom(made, {("", one.name): Mixture(one.name, (0.5, 0.4, 0.1), by="weight") for one in made.steps()})
    cells = [cell for row in woven.rows for cell in row.cells if cell is not None]
    assert {cell.shares for cell in cells} == {(0.5, 0.4, 0.1)}
    assert {cell.found for cell in cells} == {None}


def test_what_a_document_found_goes_on_into_the_result():
    text = f"name: first\n{SLERP}---\nmerge_method: linear\nmodels:\n" + "".join(
        f"- {{model: {model}, parameters: {{weight: 1}}}}\n" for model in ("first", "o/b")
    )
    made = make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes(1)) for x in "ab")))
    letters = [one.ref for one in made.parents]
    found = {("first", one.name): Mixture(one.name, (0.8, 0.2), (10.0,), document="first") for one in made.steps()}
    woven = loom(made, found)
    assert woven.whole is not None
    assert woven.whole.shares[letters.index("o/a")] == pytest.approx(0.4)
    assert woven.whole.found is None
