"""What the curve editor is told: the method's curves, their fields, the modules of the models."""

from __future__ import annotations

import html
import itertools
import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

LIVE = {"HX-Request": "true", "HX-Request-Type": "partial"}
PAIR = "base_model: loom/base\nmodels: [{model: loom/base}, {model: loom/code}]\n"


def desk(online: TestClient, recipe: str) -> dict[str, Any] | None:
    answer = online.post("/build/check", data={"recipe": recipe}, headers=LIVE)
    assert answer.status_code == 200
    found = re.search(r'data-desk="([^"]*)"', answer.text)
    told: dict[str, Any] | None = json.loads(html.unescape(found[1])) if found else None
    return told


def test_lines_are_fields_of_the_form(online: TestClient) -> None:
    told = desk(online, "merge_method: linear\nmodels:\n- {model: loom/code, parameters: {weight: 1}}\n"
                "- {model: loom/prose, parameters: {weight: [0, 1]}}\n")  # fmt: skip
    assert told is not None
    (weight,) = told["parameters"]
    assert (weight["name"], weight["low"], weight["high"], weight["step"]) == ("weight", -0.5, 1.5, 0.05)
    assert [(line["field"], line["letter"]) for line in weight["lines"]] == [
        ("parent.0.weight", "A"), ("parent.1.weight", "B")
    ]  # fmt: skip
    filters = {one["label"]: one["filter"] for one in told["modules"]}
    assert filters["attention"] == "self_attn"
    assert filters["up"] == "up_proj"
    assert told["layers"] == 4
    assert told["layer"] == "layers."
    assert told["first"] > told["last"]


def test_rows_and_columns_of_the_loom_are_told_with_names_of_their_own(online: TestClient) -> None:
    told = desk(online, "merge_method: linear\nmodels: [{model: loom/code, parameters: {weight: 1}}]\n")
    assert told is not None
    rows = {one["label"]: one for one in told["modules"] if "y" in one}
    assert {label: one["filter"] for label, one in rows.items()} == {
        "head": "lm_head", "norm": "model.norm", "embed": "embed_tokens"
    }  # fmt: skip
    assert rows["head"]["y"] < rows["norm"]["y"] < told["last"] < told["first"] < rows["embed"]["y"]
    assert [one[2] for one in told["columns"]][:2] == [["self_attn.q_proj.weight"], ["self_attn.k_proj.weight"]]
    assert all(left[0] + left[1] < right[0] for left, right in itertools.pairwise(told["columns"]))


def test_a_parameter_of_the_whole_tensor_is_one_line(online: TestClient) -> None:
    told = desk(online, f"merge_method: slerp\n{PAIR}parameters: {{t: [0, 1]}}\n")
    assert told is not None
    (t,) = told["parameters"]
    assert t["lines"] == [{"field": "shared.t", "letter": "", "colour": ""}]


@pytest.mark.parametrize(
    "recipe",
    [
        "merge_method: passthrough\nslices:\n- sources: [{model: loom/base, layer_range: [0, 4]}]\n",
        "merge_method: karcher\nmodels: [{model: loom/base}, {model: loom/code}]\n",
    ],
    ids=["a stack", "a method without curves"],
)
def test_where_nothing_can_be_drawn_there_is_no_desk(online: TestClient, recipe: str) -> None:
    assert desk(online, recipe) is None


def test_filters_that_have_values_can_be_chosen_but_layers_are_not_listed(online: TestClient) -> None:
    rules = "[{filter: o_proj, value: 1}, {filter: attn.q, value: 1}, {filter: layers.2., value: 1}, {value: 0.5}]"
    told = desk(online, f"merge_method: linear\nmodels: [{{model: loom/code, parameters: {{weight: {rules}}}}}]\n")
    assert told is not None
    filters = [one["filter"] for one in told["modules"]]
    assert filters.count("o_proj") == filters.count("attn.q") == 1
    assert "layers.2." not in filters


@pytest.mark.parametrize(("t", "called"), [("[0, 1]", "t"), ("[{filter: mlp, value: 1}, {value: 0}]", "mean t")])
def test_a_mean_of_several_values_is_called_one(online: TestClient, t: str, called: str) -> None:
    recipe = f"merge_method: slerp\n{PAIR}parameters: {{t: {t}}}\n"
    page = online.post("/build/check", data={"recipe": recipe}, headers=LIVE).text
    assert f"by layer and module; {called} by layer" in page
