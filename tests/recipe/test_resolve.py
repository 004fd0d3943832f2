"""Precedence, filters and curves against a plain restatement of their rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recipe.resolve import curve_at, position, resolve, setting_at
from app.recipe.schema import Rule


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(0, 1))
def test_a_curve_is_linear_between_evenly_spread_anchors(anchors: list[float], t: float) -> None:
    expected = np.interp(t * (len(anchors) - 1), np.arange(len(anchors)), anchors)
    assert curve_at(tuple(anchors), t) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("t", "expected"), [(0.0, "a"), (0.49, "a"), (0.5, "b"), (0.99, "b"), (1.0, "c")])
def test_words_take_the_anchor_before(t: float, expected: str) -> None:
    assert curve_at(("a", "b", "c"), t) == expected


def test_positions_of_layers() -> None:
    assert [position(index, 5) for index in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert position(0, 1) == 1.0


def test_the_first_matching_rule_wins() -> None:
    setting = (Rule(1, "self_attn"), Rule((0, 2), "mlp"), Rule(9, "*"))
    assert setting_at(setting, "model.layers.0.self_attn.q_proj.weight", 0.3) == 1
    assert setting_at(setting, "model.layers.0.mlp.up_proj.weight", 0.25) == 0.5
    assert setting_at(setting, "model.norm.weight", 0) == 9


def test_narrow_scopes_win_and_no_match_looks_further() -> None:
    narrow = {"weight": (Rule(1, "mlp"),)}
    wide = {"weight": (Rule(2),)}
    assert resolve([narrow, wide], "weight", "a.mlp.b", 0) == 1
    assert resolve([narrow, wide], "weight", "a.norm.b", 0) == 2
    assert resolve([narrow], "weight", "a.norm.b", 0) is None
    assert resolve([], "weight", "a", 0) is None
