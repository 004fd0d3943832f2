"""The oracle itself is right: against the golden merges, and where those are silent against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from app.recipe.catalogue import METHODS
from tests.engine import by_hand, oracle
from tests.engine.oracle_deltas import della_chances, largest, middle
from tests.support.checkpoints import read_tensors

CASES = by_hand.GOLDEN / "cases"
WITHOUT_TOKENIZER = sorted(path.name for path in CASES.iterdir() if "tokenizer" not in path.name)
BASE = np.array([1.0, 1.0, 1.0, 1.0])


def tuned(*change: float) -> np.ndarray:
    return BASE + np.array(change)


@pytest.mark.parametrize("case", WITHOUT_TOKENIZER)
def test_the_oracle_agrees_with_the_golden_merges(case: str):
    mine, expected = by_hand.merged(CASES / case / "recipe.yml"), read_tensors(CASES / case)
    assert mine.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(mine[name] - values).max() <= 1e-6 * np.abs(values).max(), name


def test_the_golden_merges_differ_from_their_parents_and_from_each_other():
    name = "model.layers.3.mlp.up_proj.weight"
    results = {case: read_tensors(CASES / case)[name] for case in WITHOUT_TOKENIZER if "passthrough" not in case}
    parents = {path.name: read_tensors(path)[name] for path in (by_hand.GOLDEN / "models").iterdir()}
    for case, values in results.items():
        for other, theirs in [*parents.items(), *((one, two) for one, two in results.items() if one > case)]:
            assert np.abs(values - theirs).max() > 1e-5 * np.abs(values).max(), (case, other)


def test_the_oracle_knows_every_method_of_the_catalogue():
    assert set(METHODS) == oracle.METHODS


def test_the_oracles_defaults_are_the_catalogues():
    for method in METHODS.values():
        for parameter in method.parameters:
            if parameter.used and parameter.default is not None:
                own = oracle.TENSOR_DEFAULTS.get(method.name, {}) if parameter.scope == "tensor" else None
                own = oracle.INPUT_DEFAULTS if own is None else own
                assert own[parameter.name] == parameter.default, (method.name, parameter.name)


def test_dare_drops_and_makes_up_for_it():
    first, second = tuned(1, -2, 3, 0), tuned(0, 4, -1, 1)
    masks = [np.array([True, False, True, True]), np.array([True, True, False, False])]
    each = [{"weight": 0.5, "density": 0.5}, {"weight": 1.0, "density": 0.5}]
    # |first| = 6 of which 4 stay: factor 1.5; |second| = 6 of which 4 stay: factor 1.5.
    merged = oracle.merge("dare_linear", BASE, [first, second], {}, each, masks)
    assert merged == pytest.approx([1 + 0.75, 1 + 6, 1 + 2.25, 1])
    plain = oracle.merge("dare_linear", BASE, [first, second], {"rescale": False, "lambda": 2.0}, each, masks)
    assert plain == pytest.approx([1 + 1, 1 + 8, 1 + 3, 1])
    shared = oracle.merge("dare_linear", BASE, [first, second], {"rescale": False, "normalize": True}, each, masks)
    assert shared == pytest.approx([1 + 0.5 / 1.5, 1 + 4 / 1.5, 1 + 1.5 / 1.5, 1])


def test_dare_ties_lets_the_larger_weighted_sum_win():
    first, second = tuned(1, -2, 3, 0), tuned(1, 4, -1, 1)
    each = [{"weight": 1.0, "density": 1.0}, {"weight": 1.0, "density": 1.0}]
    voted = oracle.merge("dare_ties", BASE, [first, second], {}, each)
    assert voted == pytest.approx([1 + 2, 1 + 4, 1 + 3, 1 + 1])
    averaged = oracle.merge("dare_ties", BASE, [first, second], {"normalize": True}, each)
    assert averaged == pytest.approx([1 + 1, 1 + 4, 1 + 3, 1 + 1])


def test_a_negative_weight_turns_the_vote():
    first, second = tuned(2, 2, -2, 0), tuned(3, 1, 1, 1)
    each = [{"weight": 1.0}, {"weight": -1.0}]
    merged = oracle.merge("ties", BASE, [first, second], {"normalize": False}, each)
    assert merged == pytest.approx([1 - 3, 1 + 2, 1 - 3, 1 - 1])


def test_della_uses_its_masks_and_its_own_defaults():
    first, second = tuned(1, -2, 3, 0), tuned(0, 4, -1, 1)
    masks = [np.array([True, False, True, True]), np.array([True, True, False, False])]
    each = [{"weight": 0.5, "density": 0.5}, {"weight": 1.0, "density": 0.5}]
    linear = oracle.merge("della_linear", BASE, [first, second], {}, each, masks)
    assert linear == pytest.approx([1.75, 7, 3.25, 1])
    voted = oracle.merge("della", BASE, [first, second], {}, each, masks)
    assert voted == pytest.approx([1 + 0.75 / 0.5, 1 + 6, 1 + 2.25 / 0.5, 1])


def test_masks_count_only_below_full_density():
    nothing = np.zeros(4, bool)
    kept = oracle.merge("dare_linear", BASE, [BASE + 1], {}, [{"weight": 1.0, "density": 1.0}], [nothing])
    assert kept == pytest.approx(BASE + 1)
    with pytest.raises(ValueError, match="needs its masks"):
        oracle.merge("dare_linear", BASE, [BASE + 1], {}, [{"weight": 1.0, "density": 0.5}])


def test_what_is_kept_by_magnitude():
    delta = np.array([[0.1, -0.5, 0.3], [-0.2, 0.4, 0.0]])
    assert largest(delta, 0.5).tolist() == [[False, True, True], [False, True, False]]
    assert largest(delta, 0.01).sum() == 1
    assert largest(delta, 0.0).sum() == 0
    assert largest(delta, 1.0).all()
    assert middle(delta, 0.5, 0.2).tolist() == [[False, False, True], [True, True, False]]
    assert middle(delta, 0.9, 0.5).sum() == 5
    assert middle(delta, 1.0, 0.5).all()


def test_dellas_chances_rise_with_magnitude_along_each_row():
    delta = np.array([[0.1, -0.5, 0.3], [-0.2, 0.4, 0.0]])
    assert della_chances(delta, 0.5, 0.2) == pytest.approx(np.array([[0.3, 0.7, 0.5], [0.5, 0.7, 0.3]]))
    assert della_chances(delta[0], 0.5, 0.2) == pytest.approx([0.3, 0.7, 0.5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        della_chances(delta, 0.9, 0.15)


def test_slerp_at_the_edges():
    x, y = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    half = np.sqrt(0.5)
    assert oracle.merge("slerp", x, [y], {"t": 0.5}, [{}]) == pytest.approx([half, 2 * half])
    assert oracle.merge("slerp", x, [x * 3], {"t": 0.25}, [{}]) == pytest.approx([1.5, 0])
    assert oracle.merge("slerp", x, [x * 0], {"t": 0.5}, [{}]) == pytest.approx([half, 0])
    assert oracle.merge("slerp", x, [-x], {"t": 0.25}, [{}]) == pytest.approx([0.5, 0])
