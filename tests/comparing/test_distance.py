"""How far apart models are: the same number as over all weights, near enough, and the right words for it."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from app.comparing.distance import numbers, probes, relative_distance, tell
from app.kinship import how_far_apart
from app.library.distances import AT_ONCE, Distances
from app.library.facts import Library
from app.preflight import gather_facts
from app.recipe.findings import Finding
from app.recipe.reading import read_recipe
from tests.comparing.test_meeting import llama, model
from tests.support.checkpoints import read_tensors, to_bf16, write_weights
from tests.support.tiny_models import make_tiny
from tests.worker.quiet import local

TIES = "merge_method: ties\nbase_model: local:models/base\nmodels:\n"


def asked(library: Library, *names: str, recipe: str = TIES) -> tuple[tuple[Finding, ...], bool]:
    told = "".join(f"- {{model: 'local:models/{name}', parameters: {{weight: 1, density: 0.5}}}}\n" for name in names)
    read = read_recipe(recipe + told).recipe
    assert read is not None
    facts, problems = gather_facts(read, library, None)
    assert not problems
    return how_far_apart(read, facts, library, patience=10)


def true_distance(models: Path, name: str) -> float:
    one, base = read_tensors(models / name), read_tensors(models / "base")
    inside = [key for key in base if "layers" in key and base[key].ndim > 1]
    apart = sum(float(np.sum((one[key].astype(np.float64) - base[key]) ** 2)) for key in inside)
    return float(np.sqrt(apart / sum(float(np.sum(base[key].astype(np.float64) ** 2)) for key in inside)))


def test_fine_tunes_are_told_apart_from_strangers(library: Library, models: Path) -> None:
    (stranger, kin), settled = asked(library, "one", "stranger")
    assert settled
    assert (stranger.level, stranger.code) == ("warning", "unrelated-weights")
    assert stranger.text.startswith("local:models/stranger differs from local:models/base by 1")
    assert "unrelated weights, the changes taken from it will be noise" in stranger.text
    assert (kin.level, kin.code) == ("info", "close-kin")
    share = float(kin.text.partition(" by ")[2].partition(" %")[0]) / 100
    assert share == pytest.approx(true_distance(models, "one"), rel=0.1)


def test_without_changes_the_first_parent_is_the_measure(library: Library) -> None:
    (found,), _ = asked(library, "one", "two", recipe="merge_method: linear\nmodels:\n")
    assert found.text.startswith("local:models/two differs from local:models/one by ")
    assert found.text.endswith("the same origin, with long training in between.")


def test_nothing_is_said_where_nothing_can_be_measured(library: Library) -> None:
    sliced = "merge_method: passthrough\nslices:\n- sources: [{model: 'local:models/one', layer_range: [0, 2]}]\n"
    assert asked(library, recipe=sliced) == ((), True)
    assert asked(library, "deep", recipe="merge_method: linear\nmodels:\n") == ((), True)
    assert probes(model("a/a", {"lm_head.weight": (4, 32)}), model("a/b", {"lm_head.weight": (4, 32)})) == ()


def test_a_changed_folder_is_measured_anew(tmp_path: Path) -> None:
    base = make_tiny(tmp_path / "base", seed=1, dtype="float32")
    make_tiny(tmp_path / "one", seed=2, base=base)
    library = local(tmp_path)
    before = asked(library, "one")[0]
    tensors = {name: 2.0 * values for name, values in read_tensors(tmp_path / "base").items()}
    write_weights(tmp_path / "one", tensors, "float32")
    (after,) = asked(library, "one")[0]
    library.close()
    assert before[0].code == "close-kin"
    assert "by 100 % of its size" in after.text


def test_a_slow_source_never_holds_a_request_up(library: Library) -> None:
    """What is not there in time goes on beside the request, and is known when it is asked for again."""
    recipe = read_recipe(TIES + "- {model: 'local:models/one', parameters: {weight: 1, density: 0.5}}\n").recipe
    assert recipe is not None
    facts, _ = gather_facts(recipe, library, None)
    blocked = Distances()
    release = threading.Event()
    for _ in range(AT_ONCE):
        blocked._pool.submit(release.wait, 60)
    library.distances.close()
    library.distances = blocked
    assert how_far_apart(recipe, facts, library, patience=0.0) == ((), False)
    release.set()
    found, settled = how_far_apart(recipe, facts, library, patience=10)
    assert settled
    assert found[0].code == "close-kin"


def test_few_rows_of_few_matrices() -> None:
    tensors = llama(32, 4096)
    chosen = probes(model("a/a", tensors), model("a/b", tensors))
    assert len(chosen) == 6
    layers = [int(one.one.name.split(".")[2]) for one in chosen]
    assert layers == sorted(layers)
    assert layers[0] < 6
    assert layers[-1] > 25
    assert sum(end - first for one in chosen for first, end in one.bytes_of(one.one)) <= 6 * 4 * 4 * 4096 * 2


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_raw_weights_as_numbers(dtype: str) -> None:
    values = np.array([0.0, -1.5, 3.25, 2.0**-14, 1000.0], np.float32)
    raw = {
        "BF16": to_bf16(values).astype("<u2").tobytes(), "F16": values.astype("<f2").tobytes(),
        "F32": values.astype("<f4").tobytes(), "F64": struct.pack("<5d", *values.tolist()),
    }[dtype]  # fmt: skip
    assert list(numbers(raw, dtype)) == values.tolist()


def test_the_distance_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 3, 50))
    told = relative_distance(zip(one.tolist(), other.tolist(), strict=True))
    assert told == pytest.approx(np.linalg.norm(one - other) / np.linalg.norm(other))
    assert relative_distance([([1.0], [0.0])]) is None
    assert relative_distance([([float("nan")], [1.0])]) is None


@pytest.mark.parametrize(
    ("share", "code", "words"),
    [
        (0.009, "close-kin", "B differs from the base by 0.90 % of its size: a fine-tune of it."),
        (0.2, "close-kin", "with long training in between"),
        (0.5, "far-apart", "far for a fine-tune"),
        (1.41, "unrelated-weights", "by 141 % of its size: unrelated weights"),
    ],
)
def test_in_words(share: float, code: str, words: str) -> None:
    (found,) = tell({"B": share}, "the base", from_base=True)
    assert found.code == code
    assert words in found.text
