"""Which elements survive TIES' and Breadcrumbs' cuts: exactly the right ones, whatever the ties and the path taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.plans import load_result, make_case
from worker.engine import topk
from worker.engine.execute import execute
from worker.engine.topk import _Question, _Values

pytestmark = pytest.mark.usefixtures("no_sync")


def survivors(tmp_path: Path, values: np.ndarray, method: str, device: str = "cpu", **parameters: float) -> np.ndarray:
    """Merges ``values`` with an all-zero base at weight 1: what is left are the kept elements, the rest is 0."""
    models = [{"t": torch.zeros(values.shape)}, {"t": torch.from_numpy(values)}]
    shared = {"normalize": False, "rescale": False, "lambda": 1.0}
    case = make_case(tmp_path, models, method, each=[{"weight": 1.0, **parameters}], shared=shared)
    execute(case.plan(), case.folders, tmp_path / "out", device=device)
    kept = load_result(tmp_path / "out")["t"].numpy()
    np.testing.assert_array_equal(kept[kept != 0], values[kept != 0])
    return kept != 0


def expected_largest(values: np.ndarray, density: float) -> np.ndarray:
    kept = np.zeros(values.size, bool)
    kept[np.argsort(-np.abs(values).ravel(), kind="stable")[: max(1, int(density * values.size))]] = True
    return kept.reshape(values.shape) & (values != 0)


def expected_middle(values: np.ndarray, density: float, gamma: float) -> np.ndarray:
    size, keep, top = values.size, int(density * values.size), int(gamma * values.size)
    bottom = max(0, size - keep - top)
    kept = np.zeros(size, bool)
    kept[np.argsort(np.abs(values).ravel(), kind="stable")[bottom : bottom + keep]] = True
    return kept.reshape(values.shape) & (values != 0)


def many_ties(size: int) -> np.ndarray:
    """A light fine-tune's change in bfloat16: multiples of few steps, a good part of them 0, in long runs."""
    generator = np.random.default_rng(size)
    steps = np.repeat(generator.integers(-4, 5, size // 3 + 1), 3)[:size]
    return (steps * 2.0**-10).astype(np.float32)


def no_ties(size: int) -> np.ndarray:
    return np.random.default_rng(size).standard_normal(size).astype(np.float32)


def uneven(size: int) -> np.ndarray:
    """Rows of very different size: neighbours are alike, so a sample is less telling than it seems."""
    scale = np.exp(np.random.default_rng(1).standard_normal(size // 1000 + 1) * 3).repeat(1000)[:size]
    return (no_ties(size) * scale).astype(np.float32)


SMALL, LARGE = 5_003, 400_003
DENSITIES = [1e-9, 0.001, 0.2, 0.5, 0.77, 0.999]


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("size", [1, 2, SMALL, LARGE])
@pytest.mark.parametrize("make", [many_ties, no_ties, uneven])
@pytest.mark.parametrize("density", DENSITIES)
def test_ties_keeps_exactly_the_largest(tmp_path: Path, device: str, size: int, make, density: float) -> None:
    values = make(size)
    np.testing.assert_array_equal(
        survivors(tmp_path, values, "ties", device, density=density), expected_largest(values, density)
    )


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("make", [many_ties, no_ties])
@pytest.mark.parametrize(("density", "gamma"), [(0.5, 0.01), (0.2, 0.3), (0.9, 0.5), (0.9, 0.0), (0.001, 0.9)])
def test_breadcrumbs_keeps_exactly_the_middle(
    tmp_path: Path, device: str, size: int, make, density: float, gamma: float
) -> None:
    values = make(size)
    np.testing.assert_array_equal(
        survivors(tmp_path, values, "breadcrumbs", device, density=density, gamma=gamma),
        expected_middle(values, density, gamma),
    )


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("make", [many_ties, no_ties])
@pytest.mark.parametrize("bracket", [(0, 0), (1, 2), (0x7F000000, 0x7F000001), (topk.NEVER - 1, topk.NEVER - 1)])
def test_a_bracket_that_misses_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, make, bracket: tuple[int, int]
) -> None:
    asked: list[_Question] = []

    def wrong(_: _Values, questions: list[_Question]) -> None:
        asked.extend(questions)
        for one in questions:
            one.low, one.high = bracket

    monkeypatch.setattr(topk, "_set_brackets", wrong)
    values = make(LARGE)
    kept = survivors(tmp_path, values, "breadcrumbs", device, density=0.5, gamma=0.1)
    np.testing.assert_array_equal(kept, expected_middle(values, 0.5, 0.1))
    assert len(asked) == 2


def test_the_bracket_holds_nearly_everything_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ordinary weights one pass is enough, and few values are collected."""
    collected: list[int] = []
    resolve = topk._resolve

    def watched(values: _Values, one: _Question, tallies: list[topk._Tally]):
        collected.append(sum(len(tally.inside) for tally in tallies))
        return resolve(values, one, tallies)

    monkeypatch.setattr(topk, "_resolve", watched)
    monkeypatch.setattr(topk, "_pin_down", None)
    for place, make in enumerate((many_ties, no_ties)):
        survivors(tmp_path / str(place), make(2_000_000), "ties", density=0.4)
    assert len(collected) == 2
    assert max(collected) < 0.04 * 2_000_000
