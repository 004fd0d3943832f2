"""The coefficient functions where formulas are delicate: parallel, opposite, vanishing and cancelling vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from worker.engine import coefficients


def gram(*vectors: list[float]) -> np.ndarray:
    matrix = np.array(vectors)
    return matrix @ matrix.T


def test_slerp_keeps_to_the_circle() -> None:
    for t in (-0.5, 0.0, 0.25, 1.0, 1.5):
        first, second = coefficients.slerp(gram([1, 0], [0, 1]), t)
        assert (first, second) == pytest.approx((math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)), abs=1e-15)


@pytest.mark.parametrize("second", [[1.0, 0.001], [-1.0, 0.001], [3.0, 0.0], [-2.0, 0.0]])
def test_slerp_goes_straight_between_nearly_parallel_or_opposite_vectors(second: list[float]) -> None:
    np.testing.assert_array_equal(coefficients.slerp(gram([1.0, 0.0], second), 0.3), [0.7, 0.3])


def test_slerp_takes_a_zero_tensor_for_a_right_angle() -> None:
    np.testing.assert_allclose(coefficients.slerp(gram([0.0, 0.0], [2.0, 0.0]), 0.5), [math.sqrt(0.5)] * 2)


@pytest.mark.parametrize("angle", [0.03, 1e-3, 1e-5, 1e-7])
def test_nuslerp_is_accurate_at_small_angles(angle: float) -> None:
    """sin((1−t)θ)/sin θ = (1−t)·(1 + (1 − (1−t)²)·θ²/6 + O(θ⁴))."""
    found = coefficients.nuslerp(gram([1.0, 0.0], [math.cos(angle), math.sin(angle)]), 0.75, 0.25)
    wanted = [s * (1 + (1 - s * s) * angle**2 / 6) for s in (0.75, 0.25)]
    np.testing.assert_allclose(found, wanted, rtol=max(1e-8, angle**4))


def test_nuslerp_of_weights_that_cancel_is_the_middle() -> None:
    np.testing.assert_allclose(coefficients.nuslerp(gram([1, 0], [0, 1]), 1.0, -1.0), [math.sqrt(0.5)] * 2)


def test_nuslerp_takes_rows_one_by_one() -> None:
    rows = np.stack([gram([1, 0], [0, 1]), gram([1, 2], [2, 4]), gram([1, 1], [1, 0])])
    found = coefficients.nuslerp(rows, 1.0, 3.0)
    assert found.shape == (3, 2)
    for row, one in zip(rows, found, strict=True):
        np.testing.assert_array_equal(coefficients.nuslerp(row, 1.0, 3.0), one)


def test_multislerp_of_two_is_slerp_on_unit_vectors() -> None:
    about = gram([1.0, 0.0], [0.6, 0.8])
    found = coefficients.multislerp(about, np.array([0.3, 0.7]), True, 0.0)
    merged = found @ np.array([[1.0, 0.0], [0.6, 0.8]])
    assert np.linalg.norm(merged) == pytest.approx(1.0)
    assert 0 < math.atan2(merged[1], merged[0]) < math.atan2(0.8, 0.6)


def test_multislerp_where_directions_cancel() -> None:
    np.testing.assert_array_equal(
        coefficients.multislerp(gram([1, 0], [-1, 0]), np.array([1.0, 1.0]), True, 1e-8), [0.5, 0.5]
    )
    triangle = gram([1.0, 0.0], [-0.5, math.sqrt(0.75)], [-0.5, -math.sqrt(0.75)])
    with pytest.raises(coefficients.NoDirection):
        coefficients.multislerp(triangle, np.ones(3), True, 1e-8)


def test_multislerp_takes_no_direction_from_rounding() -> None:
    """Single numbers point up or down. Inner products in fp32 are right to 6e-8 of their size."""
    noisy = gram([-1.2], [0.1], [1.03], [-0.87]) * (1 + 6e-8 * np.random.default_rng(1).uniform(-1, 1, (4, 4)))
    with pytest.raises(coefficients.NoDirection):
        coefficients.multislerp((noisy + noisy.T) / 2, np.full(4, 0.4), True, 1e-8)


def test_multislerp_of_nothing_is_nothing() -> None:
    """Tensors that no parent changed: whatever the coefficients, the changes are 0."""
    assert np.isfinite(coefficients.multislerp(np.zeros((3, 3)), np.ones(3), True, 1e-8)).all()


def test_karcher_is_symmetric_and_keeps_the_mean_length() -> None:
    corners = np.eye(3) * [1.0, 2.0, 3.0]
    merged = coefficients.karcher(corners @ corners.T, 50, 1e-12) @ corners
    np.testing.assert_allclose(merged, np.full(3, 2.0 / math.sqrt(3)), rtol=1e-9)


def test_karcher_leaves_out_what_has_no_direction() -> None:
    found = coefficients.karcher(gram([0.0, 0.0], [3.0, 0.0]), 10, 1e-5)
    np.testing.assert_allclose(found @ np.array([[0.0, 0.0], [3.0, 0.0]]), [1.5, 0.0])
    np.testing.assert_array_equal(coefficients.karcher(np.zeros((2, 2)), 10, 1e-5), [0.0, 0.0])


def test_karcher_of_opposite_numbers_keeps_the_mean_size() -> None:
    values = np.array([0.0617, -0.4376, -0.5073, 0.4376])
    for seed in range(20):
        noisy = np.outer(values, values) * (1 + 6e-8 * np.random.default_rng(seed).uniform(-1, 1, (4, 4)))
        found = coefficients.karcher((noisy + noisy.T) / 2, 10, 1e-5) @ values
        assert abs(found) == pytest.approx(np.abs(values).mean(), rel=1e-4)


def test_karcher_stops_where_it_stands_still() -> None:
    vectors = gram([1.0, 0.2, 0.1], [0.3, 1.0, -0.4], [-0.2, 0.5, 1.0])
    settled = coefficients.karcher(vectors, 200, 0.0)
    np.testing.assert_array_equal(coefficients.karcher(vectors, 10**9, 0.0), settled)


def test_karcher_of_opposite_vectors_takes_the_first() -> None:
    found = coefficients.karcher(gram([1.0, 0.0], [-1.0, 0.0]), 0, 1e-5)
    np.testing.assert_allclose(found @ np.array([[1.0, 0.0], [-1.0, 0.0]]), [1.0, 0.0])


@pytest.mark.parametrize(
    ("vectors", "t"),
    [
        (([1, 0], [1, 0]), 1.0),
        (([1, 0], [0, 1]), 0.0),
        (([1, 0], [-1, 0]), 0.0),
        (([1, 0], [1, 1]), 2 / (1 + math.sqrt(2))),
    ],
)
def test_model_stock_follows_the_angle(vectors: tuple[list[float], ...], t: float) -> None:
    np.testing.assert_allclose(coefficients.model_stock(gram(*vectors)), [t / 2, t / 2], atol=1e-12)
