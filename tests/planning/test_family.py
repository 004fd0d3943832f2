"""Family trees from what cards say, and plans for drawing without anybody's headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from app.planning.family import DEEPEST, MOST_MODELS, Origin, common_ancestor, gather, tree
from app.planning.nominal import nominal_plan
from app.planning.shares import loom
from tests.planning.models import recipe

CARDS = {
    "o/chat": Origin("mit", ("o/base",)),
    "o/code": Origin("apache-2.0", ("o/chat", "x/other")),
    "o/base": Origin("mit"),
    "x/other": Origin(),
}


def ask(names: Sequence[str]) -> Mapping[str, Origin]:
    return {name: CARDS.get(name, Origin(unread="not found")) for name in names}


def shape(parents: Sequence[str], known: Mapping[str, Origin]) -> list[tuple[int, str]]:
    return [(one.depth, one.name) for one in tree(parents, known)]


def test_the_tree_goes_from_the_ancestors_down() -> None:
    known = gather(["o/code"], ask)
    assert shape(["o/code"], known) == [(0, "o/base"), (1, "o/chat"), (2, "o/code"), (0, "x/other")]
    assert [one.name for one in tree(["o/code"], known) if one.parent] == ["o/code"]


def test_the_nearest_common_ancestor() -> None:
    known = gather(["o/code", "o/chat"], ask)
    assert common_ancestor(["o/code", "o/chat"], known) == "o/chat"
    assert common_ancestor(["o/chat", "x/other"], known | ask(["x/other"])) is None
    assert common_ancestor(["o/base"], known) == "o/base"
    assert common_ancestor([], {}) is None


@pytest.mark.parametrize("start", ["a", "b", "c"])
def test_cards_that_name_each_other_end(start: str) -> None:
    circle = {"a": Origin(None, ("b",)), "b": Origin(None, ("c",)), "c": Origin(None, ("a", "c"))}
    known = gather([start], lambda names: {name: circle[name] for name in names})
    assert sorted(name for _, name in shape([start], known)) == ["a", "b", "c"]
    assert common_ancestor([start], known) == start


def test_an_endless_family_is_cut_off() -> None:
    asked: list[Sequence[str]] = []

    def endless(names: Sequence[str]) -> Mapping[str, Origin]:
        asked.append(names)
        return {name: Origin(None, tuple(f"{name}/{child}" for child in range(9))) for name in names}

    known = gather(["a"], endless)
    assert len(known) == MOST_MODELS
    assert len(asked) <= DEEPEST
    assert len(tree(["a"], known)) == MOST_MODELS


SLERP = "{merge_method: slerp, base_model: a/b, models: [{model: a/b}, {model: c/d}], parameters: {t: [0, 1]}}"
STACK = "{merge_method: passthrough, slices: [{sources: [{model: a/b, layer_range: [0, %d]}]}]}"


def test_a_nominal_plan_has_the_recipes_own_shares() -> None:
    plan = nominal_plan(recipe(SLERP), 5)
    assert plan is not None
    rows = [row for row in loom(plan).rows if row.layer is not None]
    assert [row.cells[0].shares for row in rows if row.cells[0]] == [(1 - i / 4, i / 4) for i in range(5)]
    assert [one.ref for one in plan.parents] == ["a/b", "c/d"]


def test_slices_say_how_many_layers_there_are() -> None:
    plan = nominal_plan(recipe(STACK % 12), 5)
    assert plan is not None
    assert sum(row.layer is not None for row in loom(plan).rows) == 12


@pytest.mark.parametrize("text", [STACK % 10**9, STACK % 513, "{merge_method: linear, modules: {a: {models: [{model: a/b, parameters: {weight: 1}}]}}}"])  # fmt: skip  # noqa: E501
def test_what_cannot_be_drawn_is_not(text: str) -> None:
    assert nominal_plan(recipe(text)) is None


def test_a_recipe_of_very_many_rules_is_not_drawn() -> None:
    rules = ", ".join(f"{{filter: f{index}, value: 1}}" for index in range(3000))
    text = f"{{merge_method: linear, models: [{{model: a/b, parameters: {{weight: [{rules}, {{value: 1}}]}}}}]}}"
    assert nominal_plan(recipe(text), 500) is None
    assert nominal_plan(recipe(text), 20) is not None
