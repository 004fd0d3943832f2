"""Every method against its formula in fp64 (tests/engine/oracle.py), on many small tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.recipe.catalogue import METHODS as CATALOGUE
from tests.engine import oracle
from tests.engine.draws import clear_votes, masks_of
from tests.engine.plans import METHODS_WITH_BASE, TORCH, load_result, make_case
from worker.engine.execute import execute
from worker.engine.methods import METHODS

pytestmark = pytest.mark.usefixtures("no_sync")

SHAPES = [(), (1,), (7,), (4096,), (5000,), (3, 1), (1, 9), (8, 130), (65, 64), (4, 3, 5), (0,), (0, 4), (3, 0)]
NUMBERS = {
    "weight": st.sampled_from([-0.5, 0.25, 0.5, 1.0, 1.5]),
    "density": st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]),
    "gamma": st.sampled_from([0.0, 0.01, 0.2]),
    "epsilon": st.sampled_from([0.05, 0.09]),
    "lambda": st.sampled_from([0.5, 1.0, 1.5]),
    "t": st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    "scale": st.sampled_from([-1.0, 0.5, 2.0]),
    "threshold": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    "k": st.integers(1, 4),
    "eps": st.just(1e-8),
    "max_iter": st.integers(1, 12),
    "tol": st.just(1e-5),
    "select_topk": st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    "r": st.just(0.1),
    "alpha": st.just(0.2),
}
RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")


@dataclass(frozen=True)
class Drawn:
    """One merge: ``tensors`` fp64 (the base first, if there is one), all of them exact in ``dtypes``."""

    method: str
    tensors: list[np.ndarray]
    dtypes: list[str]
    shared: Mapping[str, Any]
    each: list[Mapping[str, Any]]
    seed: int
    base: bool


def values(draw: Any, method: str, scope: str) -> dict[str, Any]:
    """Some parameters set, some left to their defaults."""
    chosen: dict[str, Any] = {}
    for one in CATALOGUE[method].parameters:
        needed = one.required or one.name == "threshold" or (method.startswith("della") and one.name == "epsilon")
        if (one.scope == "tensor") != (scope == "tensor") or not (needed or draw(st.booleans())):
            continue
        if method in ("ram", "ramplus_tl") and one.name == "epsilon":
            chosen[one.name] = 2.0**-9
        elif one.kind == "boolean":
            chosen[one.name] = draw(st.booleans())
        else:
            chosen[one.name] = draw(NUMBERS[one.name])
    return chosen


@st.composite
def merges(draw: Any, method: str) -> Drawn:
    """Tensors on a coarse grid: differences are exact in fp32, so ranks and votes are not a matter of rounding."""
    about = CATALOGUE[method]
    shape = draw(st.sampled_from(SHAPES))
    base = method in METHODS_WITH_BASE or (about.base == "optional" and draw(st.booleans()))
    most = about.max_parents or 4
    count = draw(st.integers(about.min_parents, most)) - (about.base_counts and base)
    if method == "sce" and count == 3:
        count = 4  # variances of three are no exact numbers, so that equal ones would be told apart by rounding
    generator = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    origin = generator.integers(-200, 201, shape)
    moves = [generator.integers(-6, 7, shape) * (generator.random(shape) < 0.7) for _ in range(count)]
    tensors = [origin] * base + [origin + move for move in moves]
    each = [values(draw, method, "each") for _ in range(count)]
    if method == "linear" or method.startswith("multi"):
        assume(abs(sum(one["weight"] for one in each)) > 0.1)
    return Drawn(
        method, [np.asarray(tensor * 2.0**-8) for tensor in tensors],
        [draw(st.sampled_from(["BF16", "F16", "F32", "F64"])) for _ in tensors], values(draw, method, "tensor"), each,
        draw(st.integers(0, 1 << 40)), base,
    )  # fmt: skip


def has_direction(drawn: Drawn) -> bool:
    """False near the place where the directions that MultiSLERP averages cancel out: a rounding decides there where
    their mean points."""
    if drawn.method != "multislerp" or not drawn.tensors[0].size:
        return True
    origin = drawn.tensors[0] if drawn.base else 0.0
    moves = [tensor - origin for tensor in drawn.tensors[int(drawn.base) :]]
    weights = np.array([one["weight"] for one in drawn.each])
    if not any(move.any() for move in moves):
        return True
    units = [move / max(float(np.linalg.norm(move)), 1e-9) for move in moves]
    mean = sum(weight * unit for weight, unit in zip(weights / weights.sum(), units, strict=True))
    return bool(np.linalg.norm(mean) > 1e-3)


def run(drawn: Drawn, device: str = "cpu", dtype: str = "F32") -> np.ndarray:
    models = [
        {"t": torch.from_numpy(tensor).to(TORCH[one])} for tensor, one in zip(drawn.tensors, drawn.dtypes, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        case = make_case(
            Path(folder), models, drawn.method, base=drawn.base, shared=drawn.shared, each=drawn.each, seed=drawn.seed,
            dtype=dtype,
        )  # fmt: skip
        execute(case.plan(), case.folders, Path(folder) / "out", device=device, threads=2)
        return load_result(Path(folder) / "out")["t"].double().numpy()


def expected(drawn: Drawn) -> np.ndarray:
    masks = masks_of(drawn) if drawn.method in RANDOM else None
    base, inputs = (drawn.tensors[0], drawn.tensors[1:]) if drawn.base else (None, drawn.tensors)
    nothing_to_turn = all((x == (0 if base is None else base)).all() for x in inputs)
    if inputs[0].size == 0 or (drawn.method == "multislerp" and nothing_to_turn):
        return inputs[0]
    return oracle.merge(drawn.method, base, inputs, drawn.shared, drawn.each, masks)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_its_formula(method: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(drawn=merges(method))
    def check(drawn: Drawn) -> None:
        assume(has_direction(drawn))
        wanted = expected(drawn)
        found = run(drawn)
        assert found.shape == wanted.shape
        scale = max((np.abs(tensor).max(initial=0.0) for tensor in drawn.tensors), default=0.0) * 4
        clear = clear_votes(drawn, masks_of(drawn) if drawn.method in RANDOM else None)
        np.testing.assert_allclose(np.where(clear, found, wanted), wanted, rtol=1e-6, atol=1e-6 * scale)

    check()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_torch_agrees_with_the_kernels(method: str, dtype: str) -> None:
    """Same masks, same votes; sums may differ in their last bit where a scalar was summed in another order."""

    @settings(max_examples=15, deadline=None)
    @given(drawn=merges(method))
    def check(drawn: Drawn) -> None:
        mine, other = run(drawn, dtype=dtype), run(drawn, device="torch:cpu", dtype=dtype)
        scale = max((np.abs(tensor).max(initial=0.0) for tensor in drawn.tensors), default=0.0)
        np.testing.assert_allclose(other, mine, rtol=2**-7 if dtype == "BF16" else 1e-6, atol=1e-6 * scale)

    check()
