"""Every measure of a comparison against its definition, computed from the same files by another way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.comparing.comparison import Comparison, every_value
from app.comparing.measures import Subject
from app.comparing.wanted import Wanted, read_wanted
from app.library.facts import Library
from app.recipe.findings import Refused
from tests.comparing import oracle
from tests.comparing.conftest import NAMES
from tests.support.checkpoints import read_tensors, write_weights
from tests.support.quiet import Quiet
from tests.support.tiny_models import make_tiny
from tests.worker.quiet import local
from worker.compare import reading
from worker.compare.compare import compare
from worker.compare.tally import Tally, effective_rank

TOP = 0.2


def wanted(*names: str, base: str | None = "base", full: bool = True) -> Wanted:
    origin = f"local:models/{base}" if base else None
    return read_wanted([f"local:models/{name}" for name in names], origin, full=full, top=TOP)


@pytest.fixture(scope="module")
def weights(models: Path) -> dict[str, dict[str, np.ndarray]]:
    return {name: read_tensors(models / name) for name in (*NAMES, "base")}


def laid_out(weights: dict[str, dict[str, np.ndarray]], names: list[str]) -> dict[str, oracle.Vector]:
    """Each model's tensors of these names, end to end."""
    return {
        model: np.concatenate([told[name].ravel() for name in names]).astype(np.float64)
        for model, told in weights.items()
    }


def expected(measure: str, subject: Subject, of: dict[str, oracle.Vector]) -> float:
    chosen = [NAMES[index] for index in subject] or list(NAMES)
    deltas = [of[name] - of["base"] for name in chosen]
    by_definition: dict[str, Callable[[], float]] = {
        "cosine_weights": lambda: oracle.mean_over_pairs(oracle.cosine, [of[name] for name in chosen]),
        "cosine_deltas": lambda: oracle.mean_over_pairs(oracle.cosine, deltas),
        "sign_conflict": lambda: oracle.sign_conflict(deltas),
        "overlap": lambda: oracle.overlap(deltas, TOP),
        "delta_norm": lambda: float(np.sqrt(np.mean([oracle.relative_norm(one, of["base"]) ** 2 for one in deltas]))),
        "difference": lambda: oracle.mean_over_pairs(
            lambda one, other: np.linalg.norm(one - other) / np.sqrt(np.linalg.norm(one) * np.linalg.norm(other)),
            [of[name] for name in chosen],
        ),
    }
    return by_definition[measure]()


SUBJECTS: dict[str, tuple[Subject, ...]] = {
    **dict.fromkeys(("cosine_weights", "cosine_deltas", "sign_conflict", "difference"), ((), (0, 1), (1, 2))),
    "overlap": ((), (0, 2)),
    "delta_norm": ((), (0,), (1,)),
}


def test_everything_of_single_tensors_and_of_cells(library: Library, weights: dict[str, dict[str, np.ndarray]]) -> None:
    told = compare(wanted(*NAMES), library, Quiet())
    assert {one.name for one in told.tensors} == set(weights["base"])
    assert all(one.measured == one.elements for one in told.tensors)
    for (layer, module), inside in told.cells.items():
        one_tensor = len(inside) == 1
        of = laid_out(weights, [one.name for one in inside])
        for measure, subjects in SUBJECTS.items():
            if measure == "overlap" and not one_tensor:
                continue  # the largest are looked for in each tensor on its own
            for subject in subjects:
                value = told.value(measure, subject, (layer, module))
                assert value == pytest.approx(expected(measure, subject, of), rel=1e-8, abs=1e-9), (measure, module)
    everything = laid_out(weights, list(weights["base"]))
    assert told.overall("cosine_deltas", (0, 1)) == pytest.approx(expected("cosine_deltas", (0, 1), everything))
    assert told.overall("sign_conflict", ()) == pytest.approx(expected("sign_conflict", (), everything))


def test_the_effective_rank(library: Library, weights: dict[str, dict[str, np.ndarray]]) -> None:
    told = compare(wanted(*NAMES), library, Quiet())
    for one in told.tensors:
        delta = (
            (weights["two"][one.name].astype(np.float64) - weights["base"][one.name]) if len(one.shape) > 1 else None
        )
        if delta is None:
            assert one.ranks == (None, None, None)
        else:
            assert one.ranks[1] == pytest.approx(oracle.effective_rank(delta), rel=1e-6)
            assert one.rank_most == min(one.shape)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_effective_rank_of_a_known_matrix(rank: int) -> None:
    rng = np.random.default_rng(rank)
    left, right = np.linalg.qr(rng.normal(size=(40, rank)))[0], np.linalg.qr(rng.normal(size=(70, rank)))[0]
    assert effective_rank(2.5 * left @ right.T) == pytest.approx(rank)
    assert effective_rank(np.zeros((4, 5))) is None


def test_blocks_add_up(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the blocks are; but for the overlap, which is looked for in each block."""
    whole = compare(wanted(*NAMES), library, Quiet())
    monkeypatch.setattr(reading, "BLOCK", 1000)
    pieces = compare(wanted(*NAMES), library, Quiet())
    for one, other in zip(whole.tensors, pieces.tensors, strict=True):
        assert (one.measured, one.ranks) == (other.measured, other.ranks)
        for name in ("squares", "products", "apart", "delta_squares", "delta_products", "sizes", "against"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-8, abs=1e-12), name


def test_a_sample_is_the_same_every_time_and_near_the_truth(tmp_path: Path) -> None:
    base = make_tiny(tmp_path / "base", seed=1, layers=2, hidden=256, vocab=3000)
    make_tiny(tmp_path / "one", seed=2, base=base)
    make_tiny(tmp_path / "two", seed=3, base=base, shards=3)
    library = local(tmp_path)
    sampled = compare(wanted("one", "two", full=False), library, Quiet())
    assert sampled.as_json() == compare(wanted("one", "two", full=False), library, Quiet()).as_json()
    full = compare(wanted("one", "two"), library, Quiet())
    library.close()
    measured, elements = (sum(getattr(one, name) for one in sampled.tensors) for name in ("measured", "elements"))
    assert measured < elements / 3
    for measure, near in (("sign_conflict", 0.02), ("cosine_deltas", 0.02), ("overlap", 0.02)):
        assert sampled.overall(measure, (0, 1)) == pytest.approx(full.overall(measure, (0, 1)), abs=near)
    assert sampled.overall("delta_norm", (0,)) == pytest.approx(full.overall("delta_norm", (0,)), rel=0.03)
    assert {one.rank_most for one in sampled.tensors} <= {0, 32, 64}


def test_without_a_base_only_the_weights_are_compared(library: Library) -> None:
    told = compare(wanted("one", "stranger", base=None), library, Quiet())
    assert [one.name for one in told.measures] == ["cosine_weights", "difference"]
    matrices = [place for place in told.cells if place[1] == "up"]
    assert all(told.value("difference", (0, 1), place) == pytest.approx(2**0.5, abs=0.1) for place in matrices)


def test_one_model_against_its_base(library: Library) -> None:
    told = compare(wanted("two", full=False), library, Quiet())
    assert set(every_value(told, told.tensors)) == {"delta_norm", "rank"}
    assert told.overall("delta_norm", (0,)) == told.overall("delta_norm", ())


def test_through_json_and_back(library: Library) -> None:
    told = compare(wanted("one", "deep", full=False), library, Quiet())
    again = Comparison.of_json(told.as_json())
    assert again.as_json() == told.as_json()
    assert again.left_out == told.left_out
    assert every_value(again, again.tensors)["delta_norm"] == pytest.approx(
        every_value(told, told.tensors)["delta_norm"], rel=1e-9
    )


def test_what_cannot_be_compared_is_named(library: Library) -> None:
    told = compare(wanted("one", "deep", full=False), library, Quiet())
    assert told.layers == (0, 1, 2)
    assert told.left_out_count == len(told.left_out) == 18
    assert {one.why for one in told.left_out} == {"not in local:models/one, local:models/base"}


def test_a_tensor_with_nan_is_left_out(models: Path, tmp_path: Path) -> None:
    for name in ("base", "one"):
        make_tiny(tmp_path / name, seed=1, dtype="float32")
    broken = read_tensors(tmp_path / "one")
    broken["model.layers.1.mlp.up_proj.weight"][3, 4] = np.nan
    write_weights(tmp_path / "one", broken, "float32")
    library = local(tmp_path)
    told = compare(wanted("one"), library, Quiet())
    library.close()
    assert [(one.name, one.why) for one in told.left_out] == [
        ("model.layers.1.mlp.up_proj.weight", "holds NaN or infinite numbers")
    ]
    assert "model.layers.1.mlp.up_proj.weight" not in {one.name for one in told.tensors}


@pytest.mark.parametrize("renamed", ["base", "one", "two"])
def test_models_that_call_the_same_weights_otherwise_meet(models: Path, tmp_path: Path, renamed: str) -> None:
    """As checkpoints of a bare model do: without the ``model.`` of the one with a head."""
    for name in ("base", "one", "two"):
        shutil.copytree(models / name, tmp_path / name)
    bare = {name.removeprefix("model."): tensor for name, tensor in read_tensors(tmp_path / renamed).items()}
    for file in (tmp_path / renamed).glob("model*.safetensors*"):
        file.unlink()
    write_weights(tmp_path / renamed, bare, "bfloat16")
    with closing(local(models)) as library:
        before = compare(wanted("one", "two"), library, Quiet())
    watch = Quiet()
    with closing(local(tmp_path)) as library:
        after = compare(wanted("one", "two"), library, watch)
    named = {one.name.removeprefix("model."): replace(one, name="") for one in after.tensors}
    assert named == {one.name.removeprefix("model."): replace(one, name="") for one in before.tensors}
    assert after.layers == before.layers
    assert after.left_out == ()
    assert any("otherwise" in one for one in watch.lines)


def test_a_file_that_was_cut_is_told(models: Path, tmp_path: Path) -> None:
    for name in ("base", "one"):
        make_tiny(tmp_path / name, seed=1)
    library = local(tmp_path)

    class Cutting(Quiet):
        def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
            if stage == "comparing":
                with (tmp_path / "one" / "model.safetensors").open("r+b") as file:
                    file.truncate(20_000)

    with pytest.raises(Refused) as refused:
        compare(wanted("one"), library, Cutting())
    library.close()
    assert refused.value.findings[0].code == "parent-changed"


def test_it_stops_when_told_to(library: Library) -> None:
    with pytest.raises(InterruptedError):
        compare(wanted(*NAMES), library, Quiet(stop_at="comparing"))


def test_memory_goes_with_the_block_and_not_with_the_tensor() -> None:
    """A tally keeps numbers, not weights."""
    tally = Tally(2, True, TOP)
    rng = np.random.default_rng(0)
    for _ in range(3):
        tally.add(rng.normal(size=(3, 5000)))
    kept = sum(one.nbytes for one in vars(tally).values() if isinstance(one, np.ndarray))
    assert kept < 1000
