"""The benchmark's own arithmetic and machinery, on the smallest checkpoints and without the other tool."""

from __future__ import annotations

import json
import math
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from app.recipe.catalogue import METHODS
from app.recipe.mergekit import LACKING
from app.recipe.reading import read_recipe
from benchmarks import checkpoints, measure
from benchmarks.drawing import curves, draw
from benchmarks.goals import misses
from benchmarks.measure import Failed, Measured
from benchmarks.publish import BEGIN, END, published, remarks, whole
from benchmarks.recipes import RECIPES
from benchmarks.results import COPY, ENGINE, OURS, THEIRS, Results, Run, lines, middle, ratio, read
from benchmarks.run import parser, run
from benchmarks.table import brief, markdown

MB = 1_000_000


def a_run(tool: str, wall: float, *, size: str = "0.5B", method: str = "linear", peak: int = 100 * MB) -> Run:
    return Run(size, method, tool, Measured(wall, 2 * wall, peak, steal=0.0, others=wall))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make("87K", tmp_path_factory.mktemp("checkpoints"))


def values(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor as float32, read with another reader than the engine's."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    for file in sorted(set(index.values())):
        with safe_open(folder / file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  not a mapping
                assert index[name] == file
                yield name, opened.get_tensor(name).float().numpy()


def test_checkpoints_hold_every_weight_their_config_tells_of(made: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        wanted = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(made / "base")).state_dict()
    wanted.pop("lm_head.weight")  # tied
    for model in ("base", "ft1", "ft2", "ft3"):
        found = {name: tuple(array.shape) for name, array in values(made / model)}
        assert found == {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    assert sum(math.prod(shape) for shape in found.values()) == checkpoints.SIZES["87K"].parameters()


def test_fine_tunes_are_as_far_from_the_base_as_they_say(made: Path) -> None:
    base = dict(values(made / "base"))["model.embed_tokens.weight"]
    assert base.std() == pytest.approx(0.02, rel=0.05)
    moved = {model: dict(values(made / model))["model.embed_tokens.weight"] - base for model in checkpoints.DELTAS}
    # On the bf16 grid a small step is mostly lost or rounded up, but its mean square stays near.
    assert moved["ft3"].std() == pytest.approx(2e-4, rel=0.1)
    assert moved["ft1"].std() < moved["ft2"].std() < moved["ft3"].std()
    assert 0.3 < (moved["ft1"] == 0).mean() < 1


def test_checkpoints_are_kept_and_a_half_made_one_is_not(made: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.safetensors")}
    assert checkpoints.make("87K", made.parent) == made
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.safetensors")} == before
    stray = tmp_path / "87K" / "base" / "stray"
    stray.parent.mkdir(parents=True)
    stray.touch()
    checkpoints.make("87K", tmp_path)
    assert not stray.exists()


def test_shards_split_between_tensors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: Path) -> None:
    monkeypatch.setattr(checkpoints, "SHARD_BYTES", 50_000)
    folder = checkpoints.make("87K", tmp_path) / "ft2"
    assert len(list(folder.glob("*.safetensors"))) > 2
    whole = dict(values(made / "ft2"))
    for name, array in values(folder):
        np.testing.assert_array_equal(array, whole.pop(name))
    assert not whole


def test_every_method_of_the_catalogue_is_timed() -> None:
    read_recipes = {name: read_recipe(recipe.write(4)) for name, recipe in RECIPES.items()}
    assert all(reading.recipe and not reading.findings for reading in read_recipes.values())
    named = {name.removesuffix("-4") for name in RECIPES}
    assert named == set(METHODS)
    assert {name for name, recipe in RECIPES.items() if not recipe.both} == set(LACKING)


def test_measures_the_program_and_not_the_harness() -> None:
    """This process is large with numpy, torch and numba; a small program must not look so."""
    program = "block = bytearray({} << 20)\nfor at in range(0, len(block), 4096): block[at] = 1\nsum(range(10**6))"
    small = measure.run([sys.executable, "-S", "-c", program.format(1)], Path.cwd())
    large = measure.run([sys.executable, "-S", "-c", program.format(100)], Path.cwd())
    assert 0 < small.peak_bytes < 60 * MB
    assert 90 << 20 < large.peak_bytes - small.peak_bytes + (1 << 20) < 110 << 20
    assert small.wall > 0
    assert small.cpu > 0
    assert small.steal >= 0
    assert small.others >= 0


def test_a_program_that_fails_is_told_with_its_words() -> None:
    with pytest.raises(Failed, match="oh dear"):
        measure.run([sys.executable, "-c", "raise SystemExit('oh dear')"], Path.cwd())
    with pytest.raises(Failed):
        measure.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], Path.cwd())


def test_stolen_means_a_share_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.os, "cpu_count", lambda: 2)
    assert not Measured(10, 10, 1, steal=0.9).stolen
    assert Measured(10, 10, 1, steal=1.1).stolen


def test_medians_and_ratios() -> None:
    runs = [a_run(OURS, wall) for wall in (1.0, 9.0, 2.0)]
    found = middle(runs, cores=2)
    assert found is not None
    assert (found.wall, found.cpu, found.runs, found.stolen) == (2.0, 4.0, 3, False)
    assert found.disturbed == 0.5
    assert middle([], 2) is None
    assert ratio(12.0, 2.0) == 6.0
    assert ratio(None, 2.0) is None
    assert ratio(2.0, None) is None
    (line,) = lines([*runs, a_run(THEIRS, 10.0, peak=300 * MB), a_run(ENGINE, 1.0), a_run(COPY, 0.5)], cores=2)
    assert (line.wall_ratio, line.cpu_ratio, line.memory_ratio, line.copies) == (5.0, 5.0, 3.0, 2.0)


def test_lines_go_from_small_to_large_however_they_were_measured() -> None:
    runs = [a_run(OURS, 1.0, size=size, method=method) for size in ("0.5B", "87K") for method in ("ties", "linear")]
    found = [(line.size, line.method) for line in lines(runs, 2)]
    assert found == [("87K", "linear"), ("87K", "ties"), ("0.5B", "linear"), ("0.5B", "ties")]


def test_a_table_names_what_misses_its_goal() -> None:
    runs = [a_run(OURS, 2.0, peak=260 * MB), a_run(THEIRS, 10.0), a_run(ENGINE, 1.5), a_run(COPY, 0.5)]
    (line,) = lines(runs, cores=2)
    assert misses(line) == [
        "wall time 5.0 × less, not 6 ×",
        "processor time 5.0 × less, not 6 ×",
        "peak memory 260 MB, not 250 MB",
        "engine 3.0 × a copy of the output, not 2.5 ×",
    ]
    text = markdown([line])
    assert (
        "| linear (2) | 10.0 | 20.0 | 100 | 2.00 | 4.00 | 260 | 5.0 | 5.0 | 0.4 | 1.50 | 3.0 | 1/1 | 50/50 % |" in text
    )
    assert "- linear: wall time 5.0 × less" in text
    assert misses(lines([a_run(OURS, 2.0), a_run(THEIRS, 12.0)], 2)[0]) == []
    assert misses(lines([a_run(OURS, 2.0, size="87K"), a_run(THEIRS, 2.0, size="87K")], 2)[0]) == []


def test_results_come_back_from_their_file_and_new_ones_replace_old(tmp_path: Path) -> None:
    old = Results({"cores": 2}, (a_run(OURS, 1.0), a_run(THEIRS, 5.0), a_run(OURS, 3.0, method="ties")))
    old.write(tmp_path / "results.json")
    assert read(tmp_path / "results.json") == old
    assert read(tmp_path / "none.json").runs == ()
    again = old.replaced([a_run(OURS, 2.0)])
    assert [run.measured.wall for run in again.runs] == [5.0, 3.0, 2.0]


def test_a_drawing_places_larger_values_higher_and_bigger_models_further_right() -> None:
    runs = [a_run(tool, wall, size=size) for size, grown in (("87K", 1), ("0.5B", 9)) for tool, wall in
            ((OURS, 1.0 * grown), (THEIRS, 10.0 * grown))]  # fmt: skip
    picture = ET.fromstring(draw("Time & more", "seconds", curves(lines(runs, 2), lambda one: one.wall)))
    lines_drawn = [element.get("points", "") for element in picture.iter("{http://www.w3.org/2000/svg}polyline")]
    theirs, ours = ([tuple(map(float, pair.split(","))) for pair in points.split()] for points in lines_drawn)
    assert theirs[0][0] == ours[0][0] < ours[1][0] == theirs[1][0]
    assert theirs[0][1] < ours[0][1]
    assert theirs[1][1] < theirs[0][1]
    assert "Time & more" in "".join(picture.itertext())


def test_the_whole_of_it_on_the_smallest_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--sizes", "87K", "--methods", "passthrough", "ties", "--runs", "1", "--without-mergekit"]
    folders = ["--checkpoints", str(tmp_path / "made"), "--out", str(tmp_path / "results")]
    run(parser().parse_args([*asked, *folders]))
    results = read(tmp_path / "results" / "results.json")
    assert {(one.method, one.tool) for one in results.runs} == {
        (method, tool) for method in ("passthrough", "ties") for tool in (OURS, ENGINE, COPY)
    }
    assert all(one.measured.peak_bytes > 0 and one.measured.wall > 0 for one in results.runs)
    assert results.machine["cores"] >= 1
    assert "| passthrough (2) | – | – | – |" in (tmp_path / "results" / "table.md").read_text()
    assert ET.parse(tmp_path / "results" / "time.svg").getroot().tag.endswith("svg")
    assert not (tmp_path / "made" / "scratch").exists()
    assert "Kept in" in capsys.readouterr().out


def test_what_is_said_of_the_figures_follows_from_them() -> None:
    start = replace(a_run(OURS, 0.5), size="87K", measured=Measured(0.5, 0.375, 80_000_000))
    said = remarks(lines([a_run(OURS, 1.0), a_run(OURS, 2.0), a_run(THEIRS, 9.0), start], 2))
    assert "medians of 1 to 2 runs" in said
    assert "Other programs took 0 to 50 % of all cores" in said
    assert "Starting, seen at 87K, takes 0.38 s of processor time and up to 80 MB." in said
    assert "Hardly anything else" in remarks(lines([start], 2))


def test_publishing_replaces_only_what_stands_between_the_marks() -> None:
    about = {
        "cores": 2,
        "processor": "a chip",
        "memory_bytes": 24e9,
        "python": "3.11",
        "mergekit": {},
        "weightloom": {},
    }
    results = Results(about, (replace(a_run(OURS, 1.0), day="2026-01-02"),))
    once = published(f"Before\n{BEGIN}\nold\n{END}\nAfter\n", whole(results))
    assert once.startswith("Before\n")
    assert once.endswith("\nAfter\n")
    assert "old" not in once
    assert "Measured 2026-01-02 on 2 cores (a chip)" in once
    assert "| linear (2) |" in once
    assert "Every figure is from a single run. Other programs took 50 % of all cores" in once
    assert published(once, whole(results)) == once
    with pytest.raises(ValueError, match="not in the page"):
        published("no marks", "")


def test_the_first_look_has_what_both_tools_ran_at_the_size_of_the_goals() -> None:
    small = [a_run(tool, 1.0, size="87K") for tool in (OURS, THEIRS)]
    both = [a_run(OURS, 2.0), a_run(THEIRS, 30.0, peak=2000 * MB), a_run(OURS, 4.0, method="ties")]
    assert brief(lines([*small, *both], 2)).splitlines()[2:] == [
        "| linear (2) | 30.0 s | 2.00 s | 15 | 15 | 2000 → 100 |"
    ]
