"""Which back end does the work."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import torch

from app.recipe.findings import Refused
from tests.engine.plans import load_result, make_case
from worker.engine.backends import open_backend
from worker.engine.cpu import CpuBackend
from worker.engine.execute import execute
from worker.engine.torch_backend import TorchBackend


def test_numba_is_preferred(tmp_path: Path) -> None:
    case = make_case(tmp_path, [{"t": torch.ones(3)}], "passthrough")
    assert isinstance(open_backend("cpu", case.plan(), 65536), CpuBackend)


def test_without_numba_torch_does_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "worker.engine.cpu", None)
    case = make_case(tmp_path, [{"t": torch.ones(3)}, {"t": torch.zeros(3)}], "linear", each=[{"weight": 1.0}] * 2)
    with caplog.at_level(logging.WARNING):
        assert isinstance(open_backend("cpu", case.plan(), 65536), TorchBackend)
        execute(case.plan(), case.folders, tmp_path / "out")
    assert "slower" in caplog.text
    assert load_result(tmp_path / "out")["t"].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_no_gpu_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    case = make_case(tmp_path, [{"t": torch.ones(3)}], "passthrough")
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, tmp_path / "out", device=device)
    assert caught.value.findings[0].code == "no-gpu"


def test_the_ordinary_way_does_not_load_torch() -> None:
    """It takes seconds and hundreds of megabytes."""
    import subprocess

    code = "import sys, worker.engine.execute, worker.engine.cpu; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
