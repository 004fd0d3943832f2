"""Kernels kept as machine code: used when they are whole, compiled anew when they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from worker.engine.kernels import native
from worker.engine.kernels.native import Flat, entry

NARROW = "rows.narrow"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for machine code, and nothing loaded."""
    monkeypatch.setattr(native, "_loaded", {})
    monkeypatch.setattr(native, "_folder", lambda: tmp_path / "native")
    return tmp_path / "native"


def rounded() -> int:
    """The bits of 1 as bfloat16."""
    out = np.zeros(2, np.uint8)
    assert entry(NARROW)(np.ones(1, np.float32), out, 0) == 0
    return int(out.view(np.uint16)[0])


def test_what_was_compiled_is_kept_and_taken_next_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rounded() == 0x3F80
    (kept,) = folder.iterdir()
    assert kept.name == f"{NARROW}.o"
    monkeypatch.setattr(native, "_loaded", {})
    monkeypatch.setattr(native, "_compile", lambda name: pytest.fail(f"{name} is compiled again"))
    assert rounded() == 0x3F80


def test_that_all_is_kept_is_known_without_loading_any(folder: Path) -> None:
    assert not native.all_kept()
    folder.mkdir()
    for name in native.ENTRIES:
        (folder / f"{name}.o").touch()
    assert native.all_kept() and not native.loaded()
    (folder / f"{NARROW}.o").unlink()
    assert not native.all_kept()


@pytest.mark.parametrize("damage", [lambda raw: b"", lambda raw: raw[:-100], lambda raw: raw[:-1] + b"\x55"])
def test_a_damaged_file_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch, damage) -> None:
    rounded()
    (kept,) = folder.iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    monkeypatch.setattr(native, "_loaded", {})
    assert rounded() == 0x3F80
    assert native._whole(kept.read_bytes())


def test_where_nothing_can_be_kept_it_still_works(folder: Path) -> None:
    folder.write_text("not a folder")
    assert rounded() == 0x3F80


def test_a_wrong_array_is_refused_before_it_is_read() -> None:
    out = np.zeros(8, np.uint8)
    with pytest.raises(TypeError, match="contiguous float32"):
        entry(NARROW)(np.ones(4, np.float64), out, 0)
    with pytest.raises(TypeError, match="contiguous float32"):
        entry(NARROW)(np.ones(8, np.float32)[::2], out, 0)


def test_a_flat_array_is_the_array() -> None:
    values, out = np.array([1.0, -2.0], np.float32), np.zeros(4, np.uint8)
    assert entry(NARROW)(Flat(values), Flat(out), 0) == 0
    assert out.view(np.uint16).tolist() == [0x3F80, 0xC000]
