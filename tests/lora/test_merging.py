"""Adapters merged into one, held against the same sums made with dense matrices in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.adapters import put_on
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from tests.planning.models import facts
from tests.support.adapters import factors, write_adapter
from tests.support.checkpoints import read_dtypes, read_tensors
from worker.lora.loaded import Adapter, load_adapter
from worker.lora.merging import MergedAdapter, merge_adapters
from worker.lora.methods import METHODS, How

SIZES = {"a.q": (12, 20), "a.down": (20, 12), "b.q": (12, 20)}
WEIGHTS = (0.75, -0.5, 1.25)


@pytest.fixture
def library(tmp_path: Path):
    library = Library(None, LocalRoots({"d": tmp_path}))
    yield library
    library.close()


def lora(folder: Path, seed: int, rank: int = 3, sizes: Any = None, **settings: Any) -> Path:
    tensors: dict[str, np.ndarray] = {}
    for name, (outputs, inputs) in (sizes or SIZES).items():
        tensors |= factors(name, outputs, inputs, rank, seed)
    told = {"r": rank, "lora_alpha": 2 * rank, "target_modules": ["q", "down"]}
    return write_adapter(folder, tensors, **(told | settings))


def loaded(library: Library, name: str, folder: Path) -> Adapter:
    return load_adapter(library.adapter(parse_reference(f"local:d/{name}")), folder / name)


@pytest.fixture
def three(library: Library, tmp_path: Path) -> list[Adapter]:
    """Ranks 3, 3 and 3; alphas 6, 3 and 12."""
    for seed, alpha in enumerate((6, 3, 12)):
        lora(tmp_path / f"l{seed}", seed, lora_alpha=alpha)
    return [loaded(library, f"l{seed}", tmp_path) for seed in range(3)]


def dense(adapter: Adapter, module: str) -> np.ndarray:
    one = adapter.modules.get(module)
    outputs, inputs = SIZES[module]
    return np.zeros((outputs, inputs)) if one is None else one.scale * one.up @ one.down


def result(made: MergedAdapter, folder: Path, library: Library, name: str = "made") -> Adapter:
    """The merged adapter written out and read again, as any other."""
    (folder / name).mkdir()
    for file, content in made.files.items():
        (folder / name / file).write_bytes(content)
    return loaded(library, name, folder)


def weighted(adapters: list[Adapter], module: str) -> np.ndarray:
    return np.sum([weight * dense(one, module) for weight, one in zip(WEIGHTS, adapters, strict=True)], axis=0)


def close(got: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("method", ["cat", "svd", "linear", "task_arithmetic"])
def test_the_weighted_sum_is_exact(method: str, three: list[Adapter], library: Library, tmp_path: Path):
    got = result(merge_adapters(three, How(method, WEIGHTS)), tmp_path, library)
    for module in SIZES:
        close(dense(got, module), weighted(three, module))
        assert got.modules[module].rank == 9 and got.modules[module].scale == 1


def test_normalised_and_scaled(three: list[Adapter], library: Library, tmp_path: Path):
    for number, method in enumerate(("cat", "svd", "linear")):
        made = merge_adapters(three, How(method, WEIGHTS, normalize=True, factor=3.0))
        got = result(made, tmp_path, library, str(number))
        close(dense(got, "a.q"), 3.0 * weighted(three, "a.q") / sum(WEIGHTS))


def test_a_chosen_rank_gives_the_best_approximation(three: list[Adapter], library: Library, tmp_path: Path):
    """Eckart and Young: the dense sum's largest singular values."""
    made = merge_adapters(three, How("svd", WEIGHTS, rank=4))
    got = result(made, tmp_path, library)
    for module in SIZES:
        u, values, v = np.linalg.svd(weighted(three, module), full_matrices=False)
        close(dense(got, module), (u[:, :4] * values[:4]) @ v[:4])
        assert made.kept[module] == pytest.approx((values[:4] ** 2).sum() / (values**2).sum(), abs=1e-12)
        assert got.modules[module].rank == made.ranks[module] == 4


def test_factor_linear_is_pefts_sum_of_factors(three: list[Adapter], library: Library, tmp_path: Path):
    got = result(merge_adapters(three, How("factor_linear", WEIGHTS)), tmp_path, library)
    for module in SIZES:
        up, down = 0.0, 0.0
        for weight, one in zip(WEIGHTS, three, strict=True):
            root = np.sqrt(abs(weight) * one.modules[module].scale)
            up, down = up + root * one.modules[module].up, down + np.sign(weight) * root * one.modules[module].down
        close(dense(got, module), up @ down)


def core_oracle(three: list[Adapter], module: str) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """arXiv 2509.17786 with dense matrices: bases from the stacked factors, Uᵀ ΔW V for each adapter."""
    ups = np.hstack([one.modules[module].scale * one.modules[module].up for one in three])
    downs = np.vstack([one.modules[module].down for one in three])
    u = np.linalg.svd(ups, full_matrices=False)[0]
    v = np.linalg.svd(downs, full_matrices=False)[2].T
    return u, v, [u.T @ dense(one, module) @ v for one in three]


@pytest.mark.parametrize("normalize", [True, False])
def test_ties_in_core_space(normalize: bool, three: list[Adapter], library: Library, tmp_path: Path):
    how = How("ties", WEIGHTS, density=0.3, normalize=normalize)
    got = result(merge_adapters(three, how), tmp_path, library)
    for module in SIZES:
        u, v, cores = core_oracle(three, module)
        trimmed = []
        for core in cores:
            limit = np.sort(np.abs(core), axis=None)[-int(0.3 * core.size)]
            trimmed.append(np.where(np.abs(core) >= limit, core, 0))
        merged = np.zeros_like(cores[0])
        for place in np.ndindex(merged.shape):
            values = [weight * core[place] for weight, core in zip(WEIGHTS, trimmed, strict=True)]
            sign = 1 if sum(values) >= 0 else -1
            agreeing = [(value, abs(weight)) for value, weight in zip(values, WEIGHTS, strict=True) if value * sign > 0]
            total = sum(value for value, _ in agreeing)
            merged[place] = total / sum(weight for _, weight in agreeing) if normalize and agreeing else total
        close(dense(got, module), u @ merged @ v.T)


def test_dare_keeps_a_share_and_its_expectation(three: list[Adapter], library: Library, tmp_path: Path):
    """Drawn many times, the mean is the plain sum; one draw is the same again, another seed is not."""
    draws = []
    for seed in range(120):
        made = merge_adapters(three[:1], How("dare_linear", (1.0,), density=0.5, seed=seed))
        if seed == 0:
            assert made.files == merge_adapters(three[:1], How("dare_linear", (1.0,), density=0.5)).files
        draws.append(dense(result(made, tmp_path, library, f"d{seed}"), "a.q"))
    wanted = dense(three[0], "a.q")
    assert np.abs(draws[0] - draws[1]).max() > 0.1 * np.abs(wanted).max()
    spread = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.abs(np.mean(draws, axis=0) - wanted).max() < 5 * spread.max()


@pytest.mark.parametrize(("dare", "plain"), [("dare_linear", "linear"), ("dare_ties", "ties")])
def test_dare_that_keeps_all_is_the_plain_method(
    dare: str, plain: str, three: list[Adapter], library: Library, tmp_path: Path
):
    made = [merge_adapters(three, How(method, WEIGHTS, density=1.0)) for method in (dare, plain)]
    one, other = (result(merged, tmp_path, library, str(number)) for number, merged in enumerate(made))
    for module in SIZES:
        close(dense(one, module), dense(other, module))


@pytest.mark.parametrize("method", METHODS)
def test_a_module_that_one_lacks_counts_as_no_change(method: str, library: Library, tmp_path: Path):
    lora(tmp_path / "all", 1)
    lora(tmp_path / "few", 2, sizes={"a.q": SIZES["a.q"]})
    pair = [loaded(library, name, tmp_path) for name in ("all", "few")]
    made = merge_adapters(pair, How(method, (0.5, 0.5), density=1.0))
    got = result(made, tmp_path, library)
    assert set(got.modules) == set(SIZES)
    close(dense(got, "b.q"), 0.5 * dense(pair[0], "b.q"))
    assert sorted(got.settings["target_modules"]) == sorted(SIZES)


def test_ranks_of_their_own_stand_in_the_settings(library: Library, tmp_path: Path):
    lora(tmp_path / "one", 1, rank=2)
    lora(tmp_path / "two", 2, rank=3, sizes={"a.q": SIZES["a.q"]})
    pair = [loaded(library, name, tmp_path) for name in ("one", "two")]
    got = result(merge_adapters(pair, How("cat", (1.0, 1.0))), tmp_path, library)
    assert (got.settings["r"], got.settings["lora_alpha"]) == (2, 2)
    assert got.settings["rank_pattern"] == got.settings["alpha_pattern"] == {"a.q": 5}
    close(dense(got, "a.q"), dense(pair[0], "a.q") + dense(pair[1], "a.q"))


def test_embeddings_and_convolutions_keep_their_shapes(library: Library, tmp_path: Path):
    rng = np.random.default_rng(1)
    shapes = {
        "wte.lora_embedding_A": (3, 40),
        "wte.lora_embedding_B": (8, 3),
        "conv.lora_A.weight": (3, 5, 2, 2),
        "conv.lora_B.weight": (6, 3, 1, 1),
    }
    for name in ("one", "two"):
        tensors = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
        write_adapter(tmp_path / name, tensors, r=3, lora_alpha=3)
    pair = [loaded(library, name, tmp_path) for name in ("one", "two")]
    result(merge_adapters(pair, How("svd", (1.0, 1.0), rank=4)), tmp_path, library)
    made = library.adapter(parse_reference("local:d/made"))
    found = {name.removeprefix("base_model.model."): one.shape for name, one in made.tensors.items()}
    assert found == {
        "wte.lora_embedding_A": (4, 40),
        "wte.lora_embedding_B": (8, 4),
        "conv.lora_A.weight": (4, 5, 2, 2),
        "conv.lora_B.weight": (6, 4, 1, 1),
    }
    put_on("x", facts("m", {"wte.weight": (40, 8), "conv.weight": (6, 5, 2, 2)}), made)


@pytest.mark.parametrize(("dtype", "gap"), [("bfloat16", 2**-7), ("float16", 2**-9)])
def test_other_number_formats(dtype: str, gap: float, three: list[Adapter], library: Library, tmp_path: Path):
    got = result(merge_adapters(three, How("cat", WEIGHTS), dtype), tmp_path, library)
    assert set(read_dtypes(tmp_path / "made").values()) == {dtype}
    wanted = weighted(three, "a.q")
    assert np.abs(dense(got, "a.q") - wanted).max() < gap * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (How("cat", WEIGHTS, rank=2), "rank-not-free"),
        (How("factor_linear", WEIGHTS, rank=2), "rank-not-free"),
        (How("linear", (1.0, -1.0, 0.0), normalize=True), "weights-add-up-to-nothing"),
    ],
)
def test_what_cannot_be_asked_for(how: How, code: str, three: list[Adapter]):
    with pytest.raises(Refused) as caught:
        merge_adapters(three, how)
    assert [one.code for one in caught.value.findings] == [code]


def test_adapters_of_other_shapes_are_refused(three: list[Adapter], library: Library, tmp_path: Path):
    lora(tmp_path / "wide", 4, sizes={"a.q": (12, 24)})
    with pytest.raises(Refused, match=r"a\.q is 12 × 20 in local:d/l0, 12 × 24 in local:d/wide"):
        merge_adapters([three[0], loaded(library, "wide", tmp_path)], How("svd", (1.0, 1.0)))
    lora(tmp_path / "thick", 4, rank=5)
    with pytest.raises(Refused, match="different ranks"):
        merge_adapters([three[0], loaded(library, "thick", tmp_path)], How("factor_linear", (1.0, 1.0)))


def test_other_bases_are_remarked_on(library: Library, tmp_path: Path):
    for name in ("one", "two"):
        lora(tmp_path / name, 1, base_model_name_or_path=f"o/{name}")
    made = merge_adapters([loaded(library, name, tmp_path) for name in ("one", "two")], How("svd", (1.0, 1.0)))
    assert [one.code for one in made.findings] == ["adapter-of-another-base"]
    assert json.loads(made.files["adapter_config.json"])["base_model_name_or_path"] == "o/one"


@pytest.mark.parametrize("more", ["a.q.lora_magnitude_vector", "a.q.lora_B.bias", "norm.weight"])
def test_what_is_more_than_products_is_refused(more: str, library: Library, tmp_path: Path):
    tensors = factors("a.q", 12, 20, 3) | {more: np.ones(12, np.float32)}
    write_adapter(tmp_path / "more", tensors, r=3)
    with pytest.raises(Refused) as caught:
        loaded(library, "more", tmp_path)
    assert [one.code for one in caught.value.findings] == ["adapter-unsupported"]


def test_values_that_are_not_finite_are_refused(library: Library, tmp_path: Path):
    tensors = factors("a.q", 12, 20, 3)
    tensors["a.q.lora_A.weight"][0, 0] = np.inf
    write_adapter(tmp_path / "bad", tensors, r=3)
    with pytest.raises(Refused, match="NaN or infinite"):
        loaded(library, "bad", tmp_path)


def test_the_file_is_read_by_the_official_reader(three: list[Adapter], library: Library, tmp_path: Path):
    result(merge_adapters(three, How("svd", WEIGHTS, rank=2)), tmp_path, library)
    tensors = read_tensors(tmp_path / "made")
    assert {name: one.shape for name, one in tensors.items() if ".a.q." in name} == {
        "base_model.model.a.q.lora_A.weight": (2, 20),
        "base_model.model.a.q.lora_B.weight": (12, 2),
    }
