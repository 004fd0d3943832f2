"""Every dtype in and out: widened exactly, rounded once, to the nearest, ties to even."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.plans import TORCH, load_result, make_case
from worker.engine.dtypes import CODES
from worker.engine.execute import execute
from worker.engine.kernels.native import entry

EVERY_SHORT = np.arange(1 << 16, dtype=np.uint16)


def awkward_floats() -> np.ndarray:
    """fp32 values near every rounding boundary of the half dtypes, and random bits."""
    generator = np.random.default_rng(5)
    brains = (EVERY_SHORT.astype(np.uint32) << 16)[:, None] + np.array(
        [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32
    )
    halves = torch.from_numpy(EVERY_SHORT).view(torch.float16).float().numpy().view(np.uint32)
    near = halves[:, None] + np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF], np.uint32)
    scattered = generator.integers(0, 1 << 32, 1 << 20, dtype=np.uint64).astype(np.uint32)
    subnormal = generator.integers(0, 1 << 20, 1 << 16).astype(np.uint32)
    values = np.concatenate([brains.ravel(), near.ravel(), scattered, subnormal]).view(np.float32)
    return values[np.isfinite(values)]


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_half_value_is_widened_exactly(dtype: str) -> None:
    raw = EVERY_SHORT.view(np.uint8).reshape(1, -1)
    wide = np.empty((1, 1 << 16), np.float32)
    entry("rows.widen")(raw, np.array([CODES[dtype]]), 1 << 16, wide)
    expected = torch.from_numpy(EVERY_SHORT).view(TORCH[dtype]).float().numpy()
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(wide[0].view(np.uint32)[finite], expected.view(np.uint32)[finite])
    assert not np.isfinite(wide[0][~finite]).any()


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_rounding_is_torchs(dtype: str) -> None:
    values = awkward_floats()
    out = np.empty(values.size * 8, np.uint8)
    entry("rows.narrow")(values, out, CODES[dtype])
    expected = torch.from_numpy(values).to(TORCH[dtype])
    size = expected.element_size() * values.size
    np.testing.assert_array_equal(out[:size], expected.view(torch.uint8).numpy())


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
@pytest.mark.parametrize(
    ("value", "fits"), [(65519.0, True), (65520.0, False), (3.3895e38, False), (float("nan"), False)]
)
def test_values_that_do_not_fit_are_noticed(dtype: str, value: float, fits: bool) -> None:
    out = np.empty(8, np.uint8)
    fits = fits or (dtype != "F16" and np.isfinite(value))
    assert (entry("rows.narrow")(np.array([value], np.float32), out, CODES[dtype]) == 0) == fits


def test_bf16_overflows_where_rounding_reaches_infinity() -> None:
    out = np.empty(2, np.uint8)
    limit = np.array([0x7F7F7FFF, 0x7F7F8000], np.uint32).view(np.float32)
    assert entry("rows.narrow")(limit[:1], out, CODES["BF16"]) == 0
    assert entry("rows.narrow")(limit[1:], out, CODES["BF16"]) != 0


@pytest.mark.parametrize("out", ["BF16", "F16", "F32", "F64"])
def test_mixed_inputs_are_not_rounded_before_the_arithmetic(tmp_path: Path, out: str) -> None:
    generator = torch.Generator().manual_seed(3)
    tensors = [torch.randn(1000, generator=generator).to(TORCH[dtype]) for dtype in ("BF16", "F16", "F32", "F64")]
    models = [{"t": tensor} for tensor in tensors]
    case = make_case(tmp_path, models, "linear", each=[{"weight": 0.5}] * 4, shared={"normalize": False}, dtype=out)
    execute(case.plan(), case.folders, tmp_path / "out")
    total = torch.zeros(1000)
    for tensor in tensors:
        total += 0.5 * tensor.float()
    assert torch.equal(load_result(tmp_path / "out")["t"], total.to(TORCH[out]))
