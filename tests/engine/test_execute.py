"""The engine around the arithmetic: whole shards, same bytes, stopping, resuming, and every way a disk can fail."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from app.recipe.findings import Refused
from tests.engine.plans import Case, load_result, make_case
from tests.support.waiting import until
from worker.engine import cpu
from worker.engine.execute import Progress, Written, execute

SHAPES = {"matrix": (37, 129), "vector": (4097,), "scalar": (), "empty": (0, 5), "column": (300, 1), "cube": (3, 5, 7)}


def models(
    count: int, dtype: torch.dtype = torch.bfloat16, shapes: dict[str, tuple[int, ...]] | None = None
) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    return [
        {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in (shapes or SHAPES).items()}
        for _ in range(count)
    ]


def averages(tmp_path: Path, shards: int = 1, **changes: object) -> Case:
    case = make_case(tmp_path, models(2), "linear", each=[{"weight": 0.3}, {"weight": 0.9}], shared={"normalize": True})
    case.shards = shards
    for name, value in changes.items():
        setattr(case, name, value)
    return case


def big(tmp_path: Path, elements: int = 3_000_000) -> Case:
    return make_case(
        tmp_path, models(2, shapes={"a": (elements,), "b": (elements,)}), "linear", each=[{"weight": 0.5}] * 2
    )


def refusal(case: Case, out: Path, **arguments: object) -> str:
    """Runs the case, which must be refused without leaving anything behind; returns the finding's code."""
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, out, **arguments)  # type: ignore[arg-type]
    assert list(out.iterdir()) == []
    return caught.value.findings[0].code


def test_linear_is_the_weighted_mean_for_every_shape(tmp_path: Path) -> None:
    case = averages(tmp_path, dtype="F32")
    execute(case.plan(), case.folders, tmp_path / "out")
    first, second = models(2)
    result = load_result(tmp_path / "out")
    assert set(result) == set(SHAPES)
    for name in SHAPES:
        expected = (0.3 * first[name].double() + 0.9 * second[name].double()) / 1.2
        assert result[name].shape == expected.shape
        torch.testing.assert_close(result[name].double(), expected, rtol=3e-7, atol=1e-7)


def test_written_tells_size_and_hash_of_each_file(tmp_path: Path) -> None:
    case = averages(tmp_path, shards=3)
    told: list[Written] = []
    written = execute(case.plan(), case.folders, tmp_path / "out", on_shard=told.append)
    assert [one.file for one in written] == [shard.file for shard in case.plan().shards]
    assert tuple(told) == written
    for one in written:
        content = (tmp_path / "out" / one.file).read_bytes()
        assert (one.size, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [one.file for one in written]


@pytest.mark.parametrize(("threads", "chunk"), [(1, 4096), (2, 65536), (5, 8192), (3, 1 << 20)])
def test_same_bytes_for_any_threads_and_chunks(tmp_path: Path, threads: int, chunk: int) -> None:
    case = big(tmp_path, 5_000_001)
    reference = execute(case.plan(), case.folders, tmp_path / "one", threads=2)
    assert execute(case.plan(), case.folders, tmp_path / "two", threads=threads, chunk=chunk) == reference


def test_progress_grows_to_the_total(tmp_path: Path) -> None:
    case = averages(tmp_path, shards=2)
    seen: list[Progress] = []
    execute(case.plan(), case.folders, tmp_path / "out", on_progress=seen.append)
    assert seen == sorted(seen, key=lambda one: (one.tensors_done, one.bytes_done))
    last = seen[-1]
    assert (last.tensors_done, last.bytes_done) == (last.tensors_total, last.bytes_total)
    assert last.tensors_total == len(SHAPES)
    assert last.bytes_total == case.plan().output_bytes
    assert last.tensor in SHAPES


def test_callbacks_come_from_the_calling_thread(tmp_path: Path) -> None:
    case = averages(tmp_path)
    here = threading.get_ident()
    idents: set[int] = set()
    execute(
        case.plan(), case.folders, tmp_path / "out", check=lambda: idents.add(threading.get_ident()),
        on_progress=lambda _: idents.add(threading.get_ident()), on_shard=lambda _: idents.add(threading.get_ident()),
    )  # fmt: skip
    assert idents == {here}


def test_finished_shards_are_not_made_again(tmp_path: Path) -> None:
    case = averages(tmp_path, shards=3)
    out = tmp_path / "out"
    whole = execute(case.plan(), case.folders, out)
    kept, gone, cut = (out / one.file for one in whole)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    stamp = kept.stat().st_mtime_ns
    made: list[Written] = []
    seen: list[Progress] = []
    again = execute(
        case.plan(), case.folders, out, finished={one.file: one for one in whole}, on_shard=made.append,
        on_progress=seen.append,
    )  # fmt: skip
    assert again == whole
    assert [one.file for one in made] == [gone.name, cut.name]
    assert kept.stat().st_mtime_ns == stamp
    assert seen[0].bytes_done >= whole[0].size
    assert seen[-1].bytes_done == case.plan().output_bytes


def test_a_left_over_partial_file_does_not_matter(tmp_path: Path) -> None:
    case = averages(tmp_path)
    reference = execute(case.plan(), case.folders, tmp_path / "clean")
    out = tmp_path / "out"
    out.mkdir()
    (out / "model-00001.safetensors.partial").write_bytes(b"x" * 1_000_000)
    assert execute(case.plan(), case.folders, out) == reference
    assert len(list(out.iterdir())) == 1


class Cancelled(Exception):
    pass


def test_check_stops_the_merge_and_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised in the middle of the writing, it ends every thread at its next chunk."""
    monkeypatch.setattr(cpu, "_KEPT", 1)  # each chunk is written by itself
    case = big(tmp_path)
    write = os.pwritev
    writes: list[int] = []
    calls: list[int] = []
    raised = threading.Event()

    def pwritev(descriptor: int, pieces: Sequence[memoryview], offset: int) -> int:
        writes.append(offset)
        if len(writes) > 20:
            raised.wait(60)
        return write(descriptor, pieces, offset)

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raised.set()
            raise Cancelled

    monkeypatch.setattr(os, "pwritev", pwritev)
    with pytest.raises(Cancelled):
        execute(case.plan(), case.folders, tmp_path / "out", check=check, chunk=4096, threads=3)
    assert len(writes) < 50
    assert list((tmp_path / "out").iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine")]


def test_check_is_called_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even while a slow disk is being synced: here that ends only after some more calls."""
    calls: list[int] = []
    synced: list[int] = []
    sync = os.fsync

    def slow(descriptor: int) -> None:
        before = len(calls)
        if not synced:  # the weights; what follows is a folder
            until(lambda: len(calls) >= before + 4)
        synced.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    case = averages(tmp_path)
    execute(case.plan(), case.folders, tmp_path / "out", check=lambda: calls.append(1))
    assert synced


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failing_sync_is_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    sync = os.fsync
    calls = 0

    def broken(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    case = averages(tmp_path)
    told: list[Written] = []
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        execute(case.plan(), case.folders, tmp_path / "out", on_shard=told.append)
    assert told == []
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_full_disk_is_told_with_need_and_free(tmp_path: Path) -> None:
    case = big(tmp_path)
    out = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(Refused) as caught:
            execute(case.plan(), case.folders, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (finding,) = caught.value.findings
    assert finding.code == "disk-full"
    assert str(case.plan().shards[0].size) in finding.text
    assert "bytes are free" in finding.text
    assert list(out.iterdir()) == []


def test_a_disk_that_fills_up_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where space cannot be set aside beforehand, a write fails later."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    write = os.pwritev
    monkeypatch.setattr(os, "posix_fallocate", unsupported)

    def pwritev(descriptor: int, pieces: Sequence[memoryview], offset: int) -> int:
        if offset > 1 << 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, [pieces[0][:1000]], offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    assert refusal(big(tmp_path), tmp_path / "out") == "disk-full"


def test_a_system_that_writes_less_than_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some chunks are written together; a write may end anywhere among them."""
    case = big(tmp_path, 700_001)
    reference = execute(case.plan(), case.folders, tmp_path / "one")
    write = os.pwritev

    def pwritev(descriptor: int, pieces: Sequence[memoryview], offset: int) -> int:
        rest = b"".join(pieces)
        return write(descriptor, [rest[: max(1, len(rest) * 2 // 3)]], offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    assert execute(case.plan(), case.folders, tmp_path / "two") == reference


def test_without_preallocation_the_bytes_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = averages(tmp_path)
    reference = execute(case.plan(), case.folders, tmp_path / "one")
    monkeypatch.delattr(os, "posix_fallocate")
    assert execute(case.plan(), case.folders, tmp_path / "two") == reference


def test_parents_that_change_are_noticed(tmp_path: Path) -> None:
    case = big(tmp_path)
    file = case.folders[1] / "model.safetensors"
    content = file.read_bytes()

    file.write_bytes(content[:-2])
    assert refusal(case, tmp_path / "short") == "parent-changed"
    file.unlink()
    assert refusal(case, tmp_path / "gone") == "parent-changed"

    file.write_bytes(content)
    hit = threading.Event()

    def touch() -> None:
        if not hit.is_set():
            hit.set()
            os.utime(file, ns=(1, 1))

    assert refusal(case, tmp_path / "touched", check=touch) == "parent-changed"


def test_a_parent_cut_short_while_being_read(tmp_path: Path) -> None:
    case = big(tmp_path)
    file = case.folders[0] / "model.safetensors"
    assert refusal(case, tmp_path / "out", check=lambda: os.truncate(file, 100), threads=1) == "parent-changed"


def test_values_that_are_not_finite_name_tensor_parent_and_count(tmp_path: Path) -> None:
    two = models(2)
    two[1]["matrix"][3, 4] = float("nan")
    two[1]["matrix"][5, 6] = float("-inf")
    case = make_case(tmp_path, two, "linear", each=[{"weight": 1.0}, {"weight": 0.0}])
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, tmp_path / "out")
    (finding,) = caught.value.findings
    assert (finding.code, finding.where) == ("not-finite", "matrix")
    assert "2 values" in finding.text
    assert "p1" in finding.text


@pytest.mark.parametrize(("dtype", "value", "weight", "count"), [("F16", 400.0, 200.0, 3), ("BF16", 3e38, 2.0, 3)])
def test_results_too_large_for_their_dtype_are_refused(
    tmp_path: Path, dtype: str, value: float, weight: float, count: int
) -> None:
    tensor = torch.ones(5000)
    tensor[100:103] = value
    case = make_case(
        tmp_path, [{"t": tensor}], "linear", each=[{"weight": weight}], shared={"normalize": False}, dtype=dtype
    )
    with pytest.raises(Refused) as caught:
        execute(case.plan(), case.folders, tmp_path / "out")
    (finding,) = caught.value.findings
    assert (finding.code, finding.where) == ("not-finite", "t")
    assert f"{count} values" in finding.text
    assert dtype in finding.text
