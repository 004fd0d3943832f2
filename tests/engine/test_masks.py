"""Random masks: a known generator, the same from every implementation, and statistically what they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.draws import dare_mask, words_of
from worker.engine.kernels.philox import fill
from worker.engine.masks import BLOCK, COUNTERS, Stream, stream, threshold
from worker.engine.torch_masks import words


@pytest.mark.parametrize(
    ("key", "salt", "counter", "expected"),
    [
        ((0, 0), (0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xA4093822, 0x299F31D0), (0x13198A2E, 0x03707344), 0x85A308D3243F6A88,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)  # fmt: skip
def test_it_is_philox(key: tuple[int, int], salt: tuple[int, int], counter: int, expected: tuple[int, ...]) -> None:
    """Known answers of Philox4x32-10 from the authors' Random123 distribution."""
    first = counter // COUNTERS * BLOCK + counter % COUNTERS
    found = [int(words_of(Stream(key, salt), first + COUNTERS * k, 1)[0]) for k in range(4)]
    assert found == list(expected)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    start=st.integers(0, 2**40),
    count=st.integers(1, 10_000),
    parent=st.text(max_size=5),
)
def test_every_implementation_draws_the_same_words(seed: int, start: int, count: int, parent: str) -> None:
    one = stream(seed, "model.norm.weight", parent)
    expected = words_of(one, start, count)
    compiled = np.empty(count, np.uint32)
    fill(one.words, start, compiled, np.empty(BLOCK, np.uint32))
    np.testing.assert_array_equal(compiled, expected)
    np.testing.assert_array_equal(words(one, start, count, torch.device("cpu")).numpy(), expected)


def test_a_piece_is_what_the_whole_has_there() -> None:
    whole = dare_mask(1, "t", "p", 0, 20_000, 0.3)
    np.testing.assert_array_equal(dare_mask(1, "t", "p", 5_001, 9_000, 0.3), whole[5_001:14_001])


@pytest.mark.parametrize("density", [0.003, 0.1, 0.5, 0.9])
def test_the_kept_share_is_the_density(density: float) -> None:
    count = 4_000_000
    kept = dare_mask(0, "t", "p", 0, count, density)
    assert abs(kept.mean() - density) < 5 * np.sqrt(density * (1 - density) / count)
    runs = kept.reshape(-1, 1000).sum(axis=1)
    assert runs.var() == pytest.approx(1000 * density * (1 - density), rel=0.12)


@pytest.mark.parametrize("other", [(1, "t", "q"), (1, "u", "p"), (2, "t", "p")])
def test_streams_are_independent(other: tuple[int, str, str]) -> None:
    count = 1_000_000
    both = dare_mask(1, "t", "p", 0, count, 0.5) & dare_mask(*other, 0, count, 0.5)
    assert abs(both.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / count)


@pytest.mark.parametrize("lag", [1, 2, COUNTERS, BLOCK])
def test_neighbours_are_independent(lag: int) -> None:
    kept = dare_mask(3, "t", "p", 0, 1_000_000, 0.5)
    assert abs((kept[lag:] == kept[:-lag]).mean() - 0.5) < 5 * 0.5 / 1000


def test_seed_tensor_and_parent_are_told_apart() -> None:
    names = {
        stream(seed, tensor, parent).words.tobytes() for seed in (1, 11) for tensor in ("t", "1t") for parent in "ab"
    }
    assert len(names) == 8
    assert stream(1, "a", "b\0c") != stream(1, "a\0b", "c")


def test_the_ends_of_the_density() -> None:
    assert threshold(0.0) == 0
    assert threshold(1.0) == 2**32 - 1
    assert dare_mask(0, "t", "p", 0, 100, 1.0).all()
    assert not dare_mask(0, "t", "p", 0, 100, 0.0).any()
