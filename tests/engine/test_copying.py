"""Tensors taken over unchanged: every bit of every dtype, and nothing passed on unseen."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from app.recipe.findings import Refused
from tests.engine.plans import Case, load_result, make_case
from worker.engine.execute import Progress, execute

ODD_BITS = torch.tensor([0.0, -0.0, 1e-45, -3e-39, 1.1, 3e38])
TENSORS = {
    "f64": torch.tensor([1 / 3, -0.0, 1e-310, 1e300], dtype=torch.float64),
    "f32": ODD_BITS,
    "bf16": ODD_BITS.bfloat16(),
    "f16": torch.tensor([0.1, -0.0, 6e-8, 65504.0], dtype=torch.float16),
    "i64": torch.arange(-3, 700_000),
    "u8": torch.arange(256, dtype=torch.uint8).repeat(9_000),
    "bool": torch.tensor([True, False, True]),
    "f8": torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn),
    "none": torch.zeros(0, dtype=torch.int32),
    "one": torch.tensor(7),
}


def copies(tmp_path: Path, *models: dict[str, torch.Tensor]) -> Case:
    return make_case(tmp_path, models, "copy", base=False)


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].reshape(-1).view(torch.uint8).tolist() == tensor.reshape(-1).view(torch.uint8).tolist(), name


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_every_bit_is_kept(tmp_path: Path, device: str) -> None:
    case = copies(tmp_path, TENSORS)
    seen: list[Progress] = []
    execute(case.plan(), case.folders, tmp_path / "out", device=device, on_progress=seen.append)
    assert_same(load_result(tmp_path / "out"), TENSORS)
    assert seen[-1].bytes_done == case.plan().output_bytes


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_kernel_cannot_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def unable(*_: object) -> int:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "copy_file_range", unable)
    case = copies(tmp_path, TENSORS)
    execute(case.plan(), case.folders, tmp_path / "out")
    assert_same(load_result(tmp_path / "out"), TENSORS)


def test_a_full_disk_while_copying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full)
    case = copies(tmp_path, {"i": torch.arange(10)})
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, tmp_path / "out")
    assert caught.value.findings[0].code == "disk-full"


def test_a_parent_that_ends_while_being_copied(tmp_path: Path) -> None:
    case = copies(tmp_path, {"i": torch.arange(3_000_000)})
    file = case.folders[0] / "model.safetensors"
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, tmp_path / "out", check=lambda: os.truncate(file, 1000), threads=1)
    assert caught.value.findings[0].code == "parent-changed"
    assert list((tmp_path / "out").iterdir()) == []


def test_all_parents_may_be_named_when_they_agree(tmp_path: Path) -> None:
    case = copies(tmp_path, TENSORS, TENSORS)
    execute(case.plan(), case.folders, tmp_path / "out")
    assert_same(load_result(tmp_path / "out"), TENSORS)


def test_parents_that_differ_in_a_buffer(tmp_path: Path) -> None:
    other = TENSORS["i64"].clone()
    other[-1] += 1
    case = copies(tmp_path, {"ids": TENSORS["i64"]}, {"ids": other})
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, tmp_path / "out")
    (finding,) = caught.value.findings
    assert (finding.code, finding.where) == ("parents-differ", "ids")
    assert "p0" in finding.text
    assert "p1" in finding.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_values_that_are_not_finite_are_seen_in_copies_too(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.zeros(2_000_000, dtype=dtype)
    tensor[-1] = float("nan")
    tensor[7] = float("inf")
    case = copies(tmp_path, {"t": tensor})
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, tmp_path / "out")
    (finding,) = caught.value.findings
    assert finding.code == "not-finite"
    assert "2 values" in finding.text


def test_a_copy_into_another_dtype_is_rounded(tmp_path: Path) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    case = make_case(tmp_path, [{"t": values}], "copy", base=False, dtype="BF16")
    execute(case.plan(), case.folders, tmp_path / "out")
    assert torch.equal(load_result(tmp_path / "out")["t"], values.bfloat16())
