"""Shared tokens are made anew as a check: what is told of it and follows from it. Held against NumPy in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.transplant.rebuilt import MOST, Rebuilt, sample_size
from tests.support.checkpoints import read_tensors, write_weights
from tests.transplant.donors import TOKENS
from tests.transplant.test_command import EMBEDDING, HEAD, NEW, about, made, shared
from tests.transplant.test_pursuit import plain
from worker.transplant.rebuilding import held_out

K = ("--k", "8")


def turn(home: Path, name: str, noise: float) -> None:
    """Lay the donor's matrix ``name`` out like the model's, but turned, and with some noise."""
    rng = np.random.default_rng(5)
    donor, model = read_tensors(home / "donor"), read_tensors(home / "model")
    numbers, rows = shared(home)
    own = model[name].astype(np.float64)
    basis = np.linalg.qr(rng.normal(size=(donor[name].shape[1], own.shape[1])))[0]
    turned = own[rows] @ basis.T
    scale = noise * np.linalg.norm(turned, axis=1).mean() / np.sqrt(turned.shape[1])
    donor[name][numbers] = turned + scale * rng.normal(size=turned.shape)
    write_weights(home / "donor", donor, "float32")


def errors(home: Path, name: str) -> tuple[float, float]:
    """What the pursuit, and the mean row, get wrong of the tokens held out: medians."""
    numbers, rows = shared(home)
    donor = read_tensors(home / "donor")[name][numbers].astype(np.float64)
    every = read_tensors(home / "model")[name].astype(np.float64)
    own, mean = every[rows], every.mean(axis=0)
    held = held_out(len(numbers))
    others = np.delete(np.arange(len(numbers)), held)
    found = []
    for place in held:
        chosen, weights = plain(donor[place], donor[others], 8)
        again = weights @ own[others[chosen]]
        length = np.linalg.norm(own[place])
        found.append([np.linalg.norm(one - own[place]) / length for one in (again, mean)])
    error, mean_error = np.median(np.array(found), axis=0)
    return float(error), float(mean_error)


def test_rows_laid_out_alike_come_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (EMBEDDING, HEAD):
        turn(home, name, 0.05)
    tensors = made(home, *K)
    for one, name in zip(about(home)["rebuilt"], (EMBEDDING, HEAD), strict=True):
        error, mean_error = errors(home, name)
        assert (one["tensor"], one["made_by"], one["tokens"]) == (name, "omp", len(shared(home)[0]) // 4)
        np.testing.assert_allclose((one["error"], one["mean_error"]), (error, mean_error), atol=0.01)
        assert error < 0.75 * mean_error
    said = capsys.readouterr().err
    assert said.count("made anew by omp, came back with") == 2 and "donor's embeddings are not" not in said
    assert not np.allclose(tensors[EMBEDDING][TOKENS.index("the")], tensors[EMBEDDING][TOKENS.index("▁th")])


def test_each_matrix_falls_back_on_the_mean_where_the_donor_tells_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turn(home, HEAD, 0.05)
    tensors, before = made(home, *K), read_tensors(home / "model")
    embedding, head = about(home)["rebuilt"]
    assert (embedding["made_by"], head["made_by"]) == ("mean", "omp")
    error, mean_error = errors(home, EMBEDDING)
    assert error > mean_error
    np.testing.assert_allclose((embedding["error"], embedding["mean_error"]), (error, mean_error), atol=0.01)
    mean = before[EMBEDDING].astype(np.float64).mean(axis=0)
    for token in NEW:
        np.testing.assert_allclose(tensors[EMBEDDING][TOKENS.index(token)], mean, rtol=1e-2)
    assert "So its new rows are the mean of all rows." in (home / "out" / "README.md").read_text()
    assert "the new rows are the mean of all instead" in capsys.readouterr().err


@pytest.mark.parametrize("approach", ["omp", "nearest"])
def test_an_approach_that_was_asked_for_is_kept_with_a_warning(
    home: Path, capsys: pytest.CaptureFixture[str], approach: str
) -> None:
    tensors, before = made(home, "--approach", approach, *K), read_tensors(home / "model")
    assert {one["made_by"] for one in about(home)["rebuilt"]} == {approach}
    mean = before[EMBEDDING].astype(np.float64).mean(axis=0)
    assert not np.allclose(tensors[EMBEDDING][TOKENS.index("the")], mean, rtol=0.1)
    assert "warning: " in (said := capsys.readouterr().err) and "Take --approach subword or mean" in said


def test_the_donors_embedding_serves_a_head_of_ones_own(home: Path) -> None:
    turn(home, EMBEDDING, 0.05)
    donor = read_tensors(home / "donor")
    del donor[HEAD]
    write_weights(home / "donor", donor, "float32")
    made(home, *K)
    embedding, head = about(home)["rebuilt"]
    assert (embedding["made_by"], head["made_by"]) == ("omp", "mean")
    assert embedding["error"] < head["error"]


def test_a_quarter_is_held_out_at_most() -> None:
    assert [sample_size(one) for one in (0, 3, 4, 400, 1024, 50_000)] == [0, 0, 1, 100, MOST, MOST]
    held = held_out(400)
    assert len(set(held.tolist())) == 100 and held.min() >= 0 and held.max() < 400
    np.testing.assert_array_equal(held, held_out(400))


def test_what_is_no_better_than_the_mean_is_of_no_use() -> None:
    assert [Rebuilt("x", 9, error, 0.8).useful for error in (0.79, 0.8, 1.2, float("nan"))] == [
        True,
        False,
        False,
        False,
    ]
