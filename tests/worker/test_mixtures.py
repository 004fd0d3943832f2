"""What a merge found in the weights is a file of its result, whatever interrupts the merge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from app.library.facts import Library
from app.planning.mixture import COEFFICIENTS_FILE, read_coefficients
from app.storage.local import read_manifest
from tests.support.checkpoints import read_tensors
from tests.support.quiet import Quiet
from tests.worker.quiet import plan_of
from tests.worker.rig import RECIPE
from worker.engine.execute import Written
from worker.steps.checkpoint import Order, make_checkpoint
from worker.steps.fetch import fetch
from worker.steps.merge import merge

SLERP = """
merge_method: slerp
base_model: local:models/one
models: [{model: local:models/one}, {model: local:models/two}]
parameters: {t: [0.1, 0.9]}
dtype: float32
"""
SHARDS = 3


class Remembering(Quiet):
    """Keeps finished shards as the database does: without what they were mixed of. Stops after ``most`` of them."""

    def __init__(self, most: int = 99) -> None:
        super().__init__()
        self.most = most

    def shard(self, written: Written, key: str) -> None:
        super().shard(written, key)
        if len(self.shards) >= self.most:
            raise InterruptedError

    def finished(self, key: str) -> Mapping[str, Written]:
        return {one.file: Written(one.file, one.size, one.sha256) for one in self.shards}


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    import app.preflight as module
    from app.planning.plan_merge import make_plan

    monkeypatch.setattr(module, "make_plan", lambda *one, **more: make_plan(*one, **more, shard_bytes=1_800_000))


def merged(library: Library, out: Path, watch: Quiet) -> tuple[Written, ...]:
    plan = plan_of(library, SLERP)
    out.mkdir(exist_ok=True)
    places = fetch(plan, library, watch)
    return merge(plan, places, out, watch, device="cpu", threads=2, epoch=1)


def test_the_file_gives_the_merged_tensors(library: Library, models: Path, tmp_path: Path) -> None:
    manifest = make_checkpoint(Order(SLERP, tmp_path / "work", tmp_path / "out"), library, Quiet())
    assert manifest.file(COEFFICIENTS_FILE) is not None
    assert read_manifest(tmp_path / "out") == manifest
    raw = (tmp_path / "out" / COEFFICIENTS_FILE).read_bytes()
    content = json.loads(raw)
    assert content["parents"] == ["local:models/one", "local:models/two"]
    parents = [read_tensors(models / name) for name in ("one", "two")]
    made = read_tensors(tmp_path / "out")
    assert {one["tensor"] for one in content["tensors"]} == set(made)
    for one in content["tensors"]:
        total = sum(
            factor * parents[index][one["tensor"]].astype(np.float64)
            for factor, index in zip(one["coefficients"], one["inputs"], strict=True)
        )
        values = made[one["tensor"]].astype(np.float64)
        np.testing.assert_allclose(total, values, atol=2e-6 * np.abs(values).max(), err_msg=one["tensor"])
        assert 0 <= one["angles"][0] <= 180
    assert len(read_coefficients(raw)) == len(made)


def test_no_such_file_where_the_recipe_decides(library: Library, tmp_path: Path) -> None:
    manifest = make_checkpoint(Order(RECIPE, tmp_path / "work", tmp_path / "out"), library, Quiet())
    assert manifest.file(COEFFICIENTS_FILE) is None


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("after", [1, 2])
def test_shards_of_an_earlier_attempt_keep_theirs(library: Library, tmp_path: Path, after: int) -> None:
    expected = merged(library, tmp_path / "whole", Quiet())
    assert len(expected) >= SHARDS
    watch = Remembering(most=after)
    with pytest.raises(InterruptedError):
        merged(library, tmp_path / "out", watch)
    before = {one.file: (tmp_path / "out" / one.file).stat().st_ino for one in watch.shards}
    watch.most = 99
    assert merged(library, tmp_path / "out", watch) == expected
    assert {file: (tmp_path / "out" / file).stat().st_ino for file in before} == before
    assert all(one.mixtures for one in expected)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("record", [None, "", "{}", '{"key": "of another plan", "tensors": []}', '{"key": 1}'])
def test_a_shard_whose_record_is_lost_is_made_again(library: Library, tmp_path: Path, record: str | None) -> None:
    watch = Remembering()
    expected = merged(library, tmp_path / "out", watch)
    first, *others = [one.file for one in expected]
    before = {file: (tmp_path / "out" / file).stat().st_ino for file in others}
    (lost,) = (tmp_path / "out").glob(f".{first}*")
    lost.unlink()
    if record is not None:
        lost.write_text(record)
    made = len(watch.shards)
    assert merged(library, tmp_path / "out", watch) == expected
    assert [one.file for one in watch.shards[made:]] == [first]
    assert {file: (tmp_path / "out" / file).stat().st_ino for file in others} == before
