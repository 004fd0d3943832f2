"""W + s·BA as it is read, held against NumPy in float64; the same bits however it is cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.planning.adapted import AdaptedTensor, LowRank
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.plan import Input, Plan, Step
from app.recipe.findings import Refused
from app.recipe.schema import Recipe
from tests.engine.plans import Case, lay_out, load_result, save_parent
from worker.engine import work
from worker.engine.adapted import _add_low_rank, add_low_rank
from worker.engine.execute import execute
from worker.engine.opened import Sources

ROWS, COLUMNS, RANK, SCALE, EXPERTS = 37, 211, 5, 0.75, 11


class Pair:
    """A model ``w`` [37, 211], ``b`` [37], ``e`` [211, 37], ``s`` [11, 37, 211] and ``t`` [11, 211, 37], and the
    factors of an adapter, on disk and in float64."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        made = torch.Generator().manual_seed(3)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=made)

        self.own = {"w": random(ROWS, COLUMNS).to(dtype), "b": random(ROWS).to(dtype), "e": random(COLUMNS, ROWS)}
        self.own |= {"s": random(EXPERTS, ROWS, COLUMNS).to(dtype), "t": random(EXPERTS, COLUMNS, ROWS).to(dtype)}
        self.lora = {
            "A": random(RANK, COLUMNS).to(dtype),
            "B": random(ROWS, RANK).to(dtype),
            "m": random(ROWS).abs(),
            "shift": random(ROWS),
            "instead": random(ROWS, COLUMNS).half(),
            "As": random(EXPERTS * RANK, COLUMNS).to(dtype),
            "Bs": random(ROWS, RANK * EXPERTS).to(dtype),
        }
        self.folders = [folder / "model", folder / "lora"]
        self.model = save_parent(self.folders[0], self.own, "the model")
        self.adapter = save_parent(self.folders[1], self.lora, "the adapter", "adapter_model.safetensors")

    def low_rank(self, transposed: bool = False, magnitude: bool = False) -> LowRank:
        part = self.adapter.tensors
        return LowRank(part["B"], SCALE, part["A"], transposed, part["m"] if magnitude else None)

    def stacked(self, transposed: bool = False, expert: int = 0) -> LowRank:
        part = self.adapter.tensors
        return LowRank(part["Bs"], SCALE, part["As"], transposed, experts=EXPERTS, expert=expert)

    def tensor(self, name: str, added: LowRank | None, instead: bool = False) -> AdaptedTensor:
        own = self.model.tensors[name]
        other = self.adapter.tensors["instead"] if instead else None
        return AdaptedTensor(name, own.dtype, own.shape, own.file, own.begin, own.end, other, added)

    def plan(self, tensor: TensorFacts, dtype: str = "F32", method: str = "passthrough") -> Plan:
        step = Step(tensor.name, dtype, tensor.shape, method, (Input(0, tensor),))
        parents: tuple[ModelFacts, ...] = (self.model, self.adapter)
        return Plan(Recipe(method), parents, (lay_out("model.safetensors", [step]),), adapters={0: 1})

    def made(self, tensor: TensorFacts, out: Path, **how: object) -> np.ndarray:
        execute(self.plan(tensor), self.folders, out, **how)  # type: ignore[arg-type]
        return load_result(out)[tensor.name].numpy()

    def dense(self, name: str) -> np.ndarray:
        found = self.own.get(name, self.lora.get(name))
        assert found is not None
        return found.double().numpy()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def close(got: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol=4e-7 * np.abs(wanted).max())


def test_the_product_is_added(pair: Pair, tmp_path: Path):
    got = pair.made(pair.tensor("w", pair.low_rank()), tmp_path / "out")
    close(got, pair.dense("w") + SCALE * pair.dense("B") @ pair.dense("A"))


def test_to_a_transposed_matrix_its_transpose_is_added(pair: Pair, tmp_path: Path):
    got = pair.made(pair.tensor("e", pair.low_rank(transposed=True)), tmp_path / "out")
    close(got, pair.dense("e") + SCALE * (pair.dense("B") @ pair.dense("A")).T)


def of_experts(pair: Pair) -> np.ndarray:
    """What is added to the experts' matrices, [experts, outputs, inputs]: A's rows go by expert, then rank, B's columns
    by rank, then expert."""
    down = pair.dense("As").reshape(EXPERTS, RANK, COLUMNS)
    up = pair.dense("Bs").reshape(ROWS, RANK, EXPERTS)
    return SCALE * np.einsum("ore,eri->eoi", up, down)


def test_each_experts_product_is_added(pair: Pair, tmp_path: Path):
    close(pair.made(pair.tensor("s", pair.stacked()), tmp_path / "s"), pair.dense("s") + of_experts(pair))
    turned = pair.made(pair.tensor("t", pair.stacked(transposed=True)), tmp_path / "t")
    close(turned, pair.dense("t") + of_experts(pair).transpose(0, 2, 1))
    for expert in (0, 7, EXPERTS - 1):
        one = pair.made(pair.tensor("w", pair.stacked(expert=expert)), tmp_path / str(expert))
        close(one, pair.dense("w") + of_experts(pair)[expert])


@pytest.mark.parametrize("transposed", [False, True])
def test_dora_gives_each_output_its_length(pair: Pair, tmp_path: Path, transposed: bool):
    """arXiv 2402.09353: m · (W + ΔW) / ‖W + ΔW‖, the norm taken over what goes into an output."""
    got = pair.made(pair.tensor("e" if transposed else "w", pair.low_rank(transposed, True)), tmp_path / "out")
    own = pair.dense("e").T if transposed else pair.dense("w")
    summed = own + SCALE * pair.dense("B") @ pair.dense("A")
    wanted = pair.dense("m")[:, None] * summed / np.linalg.norm(summed, axis=1, keepdims=True)
    close(got.T if transposed else got, wanted)


def test_a_bias_of_lora_is_scaled_and_added(pair: Pair, tmp_path: Path):
    got = pair.made(pair.tensor("b", LowRank(pair.adapter.tensors["shift"], SCALE)), tmp_path / "out")
    close(got, pair.dense("b") + SCALE * pair.dense("shift"))


@pytest.mark.parametrize("more", [False, True])
def test_a_saved_module_stands_for_the_models_own(pair: Pair, tmp_path: Path, more: bool):
    """Without a look at the model's numbers: its file may even be gone."""
    (pair.folders[0] / "model.safetensors").unlink()
    got = pair.made(pair.tensor("w", pair.low_rank() if more else None, instead=True), tmp_path / "out")
    close(got, pair.dense("instead") + (SCALE * pair.dense("B") @ pair.dense("A") if more else 0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_any_format_is_read(tmp_path: Path, dtype: torch.dtype):
    pair = Pair(tmp_path, dtype)
    got = pair.made(pair.tensor("w", pair.low_rank()), tmp_path / "out")
    close(got, pair.dense("w") + SCALE * pair.dense("B") @ pair.dense("A"))


@pytest.mark.parametrize("kind", ["plain", "transposed", "dora", "dora transposed", "bias", "experts", "turned"])
def test_the_same_bits_however_it_is_cut(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    transposed, dora = "transposed" in kind, "dora" in kind
    added = LowRank(pair.adapter.tensors["shift"], SCALE) if kind == "bias" else pair.low_rank(transposed, dora)
    tensor = pair.tensor("b" if kind == "bias" else "e" if transposed else "w", added)
    if kind in ("experts", "turned"):
        tensor = pair.tensor("s" if kind == "experts" else "t", pair.stacked(transposed=kind == "turned"))
    whole = pair.made(tensor, tmp_path / "whole", threads=1)
    monkeypatch.setattr(work, "SEGMENT", 1000)
    for threads in (1, 3):
        for device in ("cpu", "torch:cpu"):
            cut = pair.made(tensor, tmp_path / f"{threads}-{device}", threads=threads, device=device)
            np.testing.assert_array_equal(cut, whole)
    with Sources(pair.plan(tensor), pair.folders) as sources:
        source = sources.open(Input(0, tensor))
        for start, count in ((0, 1), (1, 30), (7, 20), (36, 1)):
            piece = np.empty(count, np.float32)
            source.read(piece.data.cast("B"), start)
            np.testing.assert_array_equal(piece, whole.reshape(-1)[start : start + count])
        source.release()


def test_numba_and_numpy_add_up_alike():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(9, 17)).astype(np.float32), rng.normal(size=(17, 5000)).astype(np.float32)
    for first, count in ((0, 45_000), (4999, 2), (123, 20_001), (44_999, 1)):
        start = rng.normal(size=count).astype(np.float32)
        row = first // 5000
        fast, slow = start.copy(), start.copy()
        for add, out in ((add_low_rank, fast), (_add_low_rank, slow)):
            add(out, first - row * 5000, left[row : (first + count - 1) // 5000 + 1], right, np.float32(0.3))
        np.testing.assert_array_equal(fast, slow)


def test_values_that_are_not_finite_are_told_of_the_parent(pair: Pair, tmp_path: Path):
    lora = {**pair.lora, "A": torch.full((RANK, COLUMNS), float("nan"), dtype=torch.bfloat16)}
    save_parent(pair.folders[1], lora, "the adapter", "adapter_model.safetensors")
    with pytest.raises(Refused, match="values of w in the model are NaN or infinite") as caught:
        pair.made(pair.tensor("w", pair.low_rank()), tmp_path / "out")
    assert [one.code for one in caught.value.findings] == ["not-finite"]


def test_an_adapter_that_changes_meanwhile_is_noticed(pair: Pair, tmp_path: Path):
    tensor = pair.tensor("w", pair.low_rank())
    path = pair.folders[1] / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(Refused, match=r"adapter_model\.safetensors of the adapter has") as caught:
        pair.made(tensor, tmp_path / "out")
    assert [one.code for one in caught.value.findings] == ["parent-changed"]


def test_deltas_of_an_adapter_are_the_adapters(pair: Pair, tmp_path: Path):
    case = Case([pair.model], pair.folders[:1], "task_arithmetic", shared={"lambda": 1.0})
    tensor = pair.tensor("w", pair.low_rank())
    step = replace(
        case.step("w"), inputs=(Input(1, tensor, {"weight": 0.5}),), base=Input(0, pair.model.tensors["w"]), dtype="F32"
    )
    parents = (pair.model, pair.model, pair.adapter)
    plan = Plan(Recipe("task_arithmetic"), parents, (lay_out("model.safetensors", [step]),), adapters={1: 2})
    execute(plan, [pair.folders[0], *pair.folders], tmp_path / "out")
    got = load_result(tmp_path / "out")["w"].numpy()
    close(got, pair.dense("w") + 0.5 * SCALE * pair.dense("B") @ pair.dense("A"))
