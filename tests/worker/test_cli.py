"""The command line: results, exit codes, interruption and resumption, errors without tracebacks."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from types import MappingProxyType

import pytest

from app.storage.local import read_manifest
from tests.support.hub import StandInHub
from tests.support.waiting import until
from tests.worker.rig import ROOT
from worker.bar import Bar
from worker.check_command import COMPILING_BYTES
from worker.console import RECORD, Console
from worker.engine.execute import Written

RECIPE = """\
merge_method: linear
models:
  - model: one
    parameters: {weight: 0.75}
  - model: two
    parameters: {weight: 0.25}
dtype: bfloat16
"""


@pytest.fixture
def home(tmp_path: Path, models: Path) -> Path:
    """A folder with two models and a recipe of them."""
    for name in ("one", "two"):
        shutil.copytree(models / name, tmp_path / name)
    (tmp_path / "recipe.yml").write_text(RECIPE)
    return tmp_path


def environment(home: Path, module: str = "") -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "WEIGHTLOOM_DATA": str(home / "data"),
        "WEIGHTLOOM_MODEL_ROOTS": f"models={home}",
        "TEST_FAULTS": str(home / "faults.json"),
        "HF_HUB_CACHE": str(home / "hub"),
    }


def weightloom(
    home: Path, *words: str, stdin: str | None = None, more: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", *words],
        cwd=home, env={**environment(home), **more}, input=stdin, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_merge(home: Path) -> None:
    done = weightloom(home, "merge", "recipe.yml", "out")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"out: \d+ files, \d+ MB\n", done.stdout)
    assert "\x1b" not in done.stderr
    manifest = read_manifest(home / "out")
    assert manifest is not None
    assert {file.name: file.sha256 for file in manifest.files}.items() <= sums(home / "out").items()
    assert sorted(path.name for path in home.iterdir()) == ["one", "out", "recipe.yml", "two"]
    again = weightloom(home, "merge", "recipe.yml", "out")
    assert again.returncode == 1
    assert "finished merge already" in again.stderr


def test_merge_into_an_empty_folder_with_other_names_and_threads(home: Path) -> None:
    first = weightloom(home, "merge", "recipe.yml", "out", "--json", "--threads", "1")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert told["bytes"] == sum(file["size"] for file in told["files"])
    (home / "empty").mkdir()
    local = RECIPE.replace("one", "local:models/one").replace("two", "local:models/two")
    second = weightloom(home, "merge", "-", "empty", "--threads", "3", stdin=local)
    assert second.returncode == 0, second.stderr
    weights = "model.safetensors"
    header = {name: int.from_bytes((home / name / weights).read_bytes()[:8], "little") for name in ("out", "empty")}
    data = {name: (home / name / weights).read_bytes()[8 + header[name] :] for name in header}
    assert data["out"] == data["empty"]


def test_a_folder_that_is_in_use_is_left_alone(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "thesis.tex").write_text("years of work")
    done = weightloom(home, "merge", "recipe.yml", "mine")
    assert done.returncode == 1
    assert "new or empty folder" in done.stderr
    assert sorted(path.name for path in (home / "mine").iterdir()) == ["thesis.tex"]


@pytest.mark.parametrize("as_json", [True, False])
def test_check(home: Path, as_json: bool) -> None:
    done = weightloom(home, "check", "recipe.yml", *(["--json"] if as_json else []))
    assert done.returncode == 0, done.stderr
    if as_json:
        told = json.loads(done.stdout)
        assert told["estimate"]["parameters"] == 2_087_040
        assert {"level", "code", "where", "text", "fix"} == set(told["findings"][0])
    else:
        assert "parameters: 2 087 040" in done.stdout


def test_what_compiling_takes_is_counted_before_it_is_done(home: Path) -> None:
    """Machine code is kept beside Numba's cache, which is empty after an installation."""
    new = {"NUMBA_CACHE_DIR": str(home / "cache-of-kernels")}
    told = json.loads(weightloom(home, "check", "recipe.yml", "--json", more=new).stdout)
    assert told["estimate"]["peak_memory_bytes"] == COMPILING_BYTES
    assert [one["fix"] for one in told["findings"] if one["code"] == "kernels-not-compiled"]


STACK = """\
merge_method: passthrough
slices:
- sources: [{model: one, layer_range: [0, 2]}]
- sources: [{model: one, layer_range: [1, 2]}]
"""


def test_what_is_changed_in_the_config_is_listed(home: Path) -> None:
    (home / "stack.yml").write_text(STACK)
    plain, structured = weightloom(home, "check", "stack.yml"), weightloom(home, "check", "stack.yml", "--json")
    assert "\n  num_hidden_layers: 8 → 3\n" in plain.stdout
    told = [one for one in json.loads(structured.stdout)["findings"] if one["code"] == "config-repaired"]
    assert told[0]["changes"] == [{"key": "num_hidden_layers", "before": "8", "after": "3"}]
    merged = weightloom(home, "merge", "stack.yml", "out")
    assert "config.json: num_hidden_layers: 8 → 3" in merged.stderr
    manifest = read_manifest(home / "out")
    assert manifest is not None
    assert manifest.about["config_changes"] == told[0]["changes"]


def test_what_the_checks_refuse(home: Path) -> None:
    (home / "typo.yml").write_text(RECIPE.replace("linear", "lineer"))
    for command in (["check", "typo.yml"], ["merge", "typo.yml", "out"]):
        plain, structured = weightloom(home, *command), weightloom(home, *command, "--json")
        assert (plain.returncode, structured.returncode) == (1, 1)
        assert 'Did you mean "linear"?' in plain.stdout + plain.stderr
        assert json.loads(structured.stdout)["findings"][0]["level"] == "error"
    assert not (home / "out").exists()
    assert not (home / "out.unfinished").exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["merge"],
        ["merge", "nowhere.yml", "out"],
        ["check", "."],
        ["merge", "recipe.yml", "out", "--threads", "0"],
        ["merge", "recipe.yml", "out", "--device", "tpu"],
        ["fly"],
    ],
)
def test_wrongly_called(home: Path, words: list[str]) -> None:
    done = weightloom(home, *words)
    assert done.returncode == 2
    assert done.stderr.strip()


def test_what_cannot_be_used_is_told_before_anything_is_read(home: Path) -> None:
    """A folder that cannot be made, and a GPU that is not there."""
    (home / "file").write_text("no folder")
    for words, told in (
        (["file/out"], "file/out.unfinished cannot be used"),
        (["out", "--device", "cuda:77"], "no GPU"),
    ):
        done = weightloom(home, "merge", "recipe.yml", *words)
        assert done.returncode == 1
        assert told in done.stderr and "Merging" not in done.stderr
    assert not (home / "out.unfinished").exists()


def test_version_and_help(home: Path) -> None:
    assert weightloom(home, "--version").stdout.startswith("weightloom ")
    assert "Exit codes" in weightloom(home, "--help").stdout


def test_parents_that_are_streamed_are_not_stored(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (home / "recipe.yml").write_text(RECIPE.replace("one", "org/one").replace("two", "org/two"))
    with StandInHub(tmp_path_factory.mktemp("served")) as hub:
        for name in ("one", "two"):
            hub.add(f"org/{name}", {path.name: path.read_bytes() for path in (home / name).iterdir()})
        at_hub = {"WEIGHTLOOM_HUB_ENDPOINT": hub.endpoint}
        streamed = weightloom(home, "merge", "recipe.yml", "streamed", "--stream", more=at_hub)
        assert streamed.returncode == 0, streamed.stderr
        assert "SHA-256 cannot be checked" in streamed.stderr
        assert "nothing of them stored" in streamed.stderr
        blobs = [path for path in (home / "hub").glob("*/blobs/*") if path.is_file()]
        assert max(path.stat().st_size for path in blobs) < 200_000
        stored = weightloom(home, "merge", "recipe.yml", "stored", more=at_hub)
        assert stored.returncode == 0, stored.stderr
        weights = {name: found for name, found in sums(home / "streamed").items() if name.endswith("safetensors")}
        assert weights.items() <= sums(home / "stored").items()
        refs = [path.read_text() for path in sorted((home / "hub").glob("models--org--*/refs/main"))]
        assert refs == [hub.commit_of("org/one"), hub.commit_of("org/two")]


def slow(home: Path, **faults: object) -> subprocess.Popen[str]:
    """A merge with the faults of ``faults.py``, in several shards."""
    (home / "faults.json").write_text(json.dumps(faults))
    code = "import sys, tests.worker.faults, worker.cli; sys.exit(worker.cli.main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, "merge", "recipe.yml", "out"],
        cwd=home, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_interrupted_and_killed_merges_go_on_with_identical_bytes(home: Path) -> None:
    whole = slow(home)
    _, told = whole.communicate(timeout=120)
    assert whole.returncode == 0, told
    undisturbed = sums(home / "out")
    (home / "out").rename(home / "undisturbed")

    record = home / "out.unfinished" / ".weightloom-shards.jsonl"
    first = slow(home, tensor_seconds=0.2)
    until(lambda: record.exists() and record.read_text().count("\n") >= 1)
    second = slow(home, tensor_seconds=0.2)
    assert "Another merge into this folder is running" in second.communicate(timeout=120)[1]
    assert second.returncode == 1
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=120)
    assert first.returncode == 130, told
    assert "goes on after the files that are finished" in told
    assert not (home / "out").exists()

    lines = record.read_text().count("\n")
    third = slow(home, tensor_seconds=0.05)
    until(lambda: record.read_text().count("\n") > lines)
    third.kill()
    third.communicate()

    last = slow(home)
    _, told = last.communicate(timeout=120)
    assert last.returncode == 0, told
    assert "Going on after" in told
    assert sums(home / "out") == undisturbed
    assert not (home / "out.unfinished").exists()


def test_finished_files_of_another_merge_and_half_a_line_do_not_count(tmp_path: Path) -> None:
    """The recipe was changed, or the machine went down while the record was written."""
    console = Console(tmp_path, Bar(StringIO()), [])
    first, second = (Written(f"model-0000{number}-of-00002.safetensors", 8, "ab" * 32) for number in (1, 2))
    console.shard(first, "this plan")
    console.shard(second, "another plan")
    assert console.finished("this plan") == {first.file: first}
    with (tmp_path / RECORD).open("a") as record:
        record.write('{"key": "this plan", "file": "model-0')
    assert console.finished("this plan") == {first.file: first}


def test_a_failure_on_the_way(home: Path) -> None:
    broken = slow(home, no_space_after=40)
    _, told = broken.communicate(timeout=120)
    assert broken.returncode == 3
    assert "disk" in told.lower()
    assert "Traceback" not in told
    assert not (home / "out").exists()


def test_on_a_terminal_there_is_a_bar(home: Path) -> None:
    (home / "faults.json").write_text(json.dumps({"tensor_seconds": 0.01}))
    code = "import sys, tests.worker.faults, worker.cli; sys.exit(worker.cli.main())"
    ours, theirs = pty.openpty()
    merge = subprocess.Popen(
        [sys.executable, "-c", code, "merge", "recipe.yml", "out"],
        cwd=home, env=environment(home), stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 65536):
            drawn += piece
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert merge.wait(120) == 0
    assert re.search(r"Merging [━╌]+ +\d+%", drawn.decode())
    assert re.search(r"/s", drawn.decode())
