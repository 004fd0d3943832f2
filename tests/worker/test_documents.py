"""Recipes of several documents: one merge gives what its documents give one after the other, byte for byte."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from app.library.facts import Library
from app.planning.card import model_card
from app.planning.estimate import estimate
from app.planning.shares import loom
from app.preflight import preflight
from tests.support import families
from tests.support.checkpoints import read_dtypes, read_tensors
from tests.support.tiny_models import make_tiny
from tests.worker.quiet import merged

SOUP = """
merge_method: linear
models:
- {model: 'local:models/a', parameters: {weight: 0.7}}
- {model: 'local:models/b', parameters: {weight: 0.3}}
"""
OVER = """
merge_method: dare_ties
base_model: 'local:models/base'
models:
- {model: SOUP, parameters: {weight: 0.6, density: 0.5}}
- {model: 'local:models/c', parameters: {weight: 0.5, density: 0.6}}
seed: 5
"""
STACK = """
merge_method: passthrough
slices:
- sources: [{model: SOUP, layer_range: [0, 3]}]
- sources: [{model: 'local:models/c', layer_range: [1, 4]}]
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny(folder / "base", seed=1)
    for seed, name in enumerate("abc", start=2):
        make_tiny(folder / name, seed=seed, base=base)
    return folder


def one_after_the_other(last: str, first: str, models: Path, library: Library, folder: Path) -> Path:
    """``first`` merged into ``models/soup``, then ``last`` from there."""
    merged(first, library, folder / "first")
    (folder / "first" / "out").rename(models / "soup")
    merged(last.replace("SOUP", "'local:models/soup'"), library, folder / "second")
    (models / "soup").rename(folder / "soup")
    return folder / "second" / "out"


def tensors_hash(folder: Path) -> str:
    return hashlib.sha256(b"".join(name.encode() + values.tobytes() for name, values in
                                   sorted(read_tensors(folder).items()))).hexdigest()  # fmt: skip


@pytest.mark.parametrize("last", [OVER, STACK])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_documents_give_what_they_give_one_after_the_other(
    last: str, dtype: str, models: Path, library: Library, tmp_path: Path
) -> None:
    """A document that names a dtype is rounded to it, as if it had been written. DARE draws by the parents' names,
    which is why the soup is called alike here."""
    first = f"{SOUP}dtype: {dtype}\n"
    expected = one_after_the_other(last, first, models, library, tmp_path)
    plan = merged(f"name: 'local:models/soup'\n{first}---{last}".replace("SOUP", "'local:models/soup'"), library,
                  tmp_path / "fused")  # fmt: skip
    out = tmp_path / "fused" / "out"
    assert tensors_hash(out) == tensors_hash(expected)
    assert json.loads((out / "config.json").read_text()) == json.loads((expected / "config.json").read_text())
    assert {path.name for path in out.iterdir()} >= {path.name for path in expected.iterdir()} - {"README.md"}
    assert [one.ref for one in plan.parents] != []
    families.load(out)


def test_without_a_dtype_nothing_is_rounded_on_the_way(models: Path, library: Library, tmp_path: Path) -> None:
    last = """
merge_method: task_arithmetic
base_model: 'local:models/base'
models: [{model: soup, parameters: {weight: 2.5}}]
out_dtype: float32
"""
    plan = merged(f"name: soup{SOUP}---{last}", library, tmp_path)
    parents = [read_tensors(models / name) for name in ("base", "a", "b")]
    for name, values in read_tensors(tmp_path / "out").items():
        base, a, b = (one[name].astype(np.float64) for one in parents)
        np.testing.assert_allclose(values, base + 2.5 * (0.7 * a + 0.3 * b - base), rtol=1e-5, atol=1e-6)
    card = model_card(plan, "x")
    assert all(f"local:models/{name}" in card for name in ("base", "a", "b"))
    row = next(row for row in loom(plan).rows if row.layer == 0)
    assert row.cells[0] is not None
    assert row.cells[0].shares == pytest.approx((0, 0.7, 0.3))
    alone = merged(last.replace("soup", "'local:models/a'"), library, tmp_path / "alone")
    assert estimate(plan).seconds >= estimate(alone).seconds
    assert estimate(plan).peak_memory_bytes > estimate(alone).peak_memory_bytes


def test_the_results_dtype_is_that_of_the_parents(models: Path, library: Library, tmp_path: Path) -> None:
    merged(f"name: soup{SOUP}---{OVER.replace('SOUP', 'soup')}", library, tmp_path)
    assert set(read_dtypes(tmp_path / "out").values()) == {"bfloat16"}


def test_a_stage_with_a_vocabulary_of_its_own(models: Path, library: Library, tmp_path: Path) -> None:
    """With one parent's tokens and nothing but zeros for the new one, it does not matter which document names it."""
    block = "tokenizer: {source: base, pad_to_multiple_of: 64, tokens: {<new>: {source: {kind: zero}}}}\n"
    plan = merged(f"name: soup{SOUP}{block}---\nmerge_method: passthrough\nmodels: [{{model: soup}}]\n", library,
                  tmp_path)  # fmt: skip
    assert plan.alignments
    assert read_tensors(tmp_path / "out")["model.embed_tokens.weight"].shape[0] == 384
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == 384
    assert "<new>" in (tmp_path / "out" / "tokenizer.json").read_text()
    families.load(tmp_path / "out")
    late = f"name: soup{SOUP}---\nmerge_method: passthrough\nmodels: [{{model: soup}}]\n{block}"
    merged(late, library, tmp_path / "late")
    assert tensors_hash(tmp_path / "late" / "out") == tensors_hash(tmp_path / "out")


def test_documents_that_double_the_work_are_refused(models: Path, library: Library) -> None:
    """Thirty documents, each of which uses the one before twice over, would take a milliard steps for each tensor."""
    texts = [f"name: s0{SOUP}"]
    for number in range(1, 31):
        before = f"{{model: s{number - 1}, layer_range: [0, 4], parameters: {{weight: 1}}}}"
        texts.append(f"name: s{number}\nmerge_method: linear\nslices: [{{sources: [{before}, {before}]}}]\n")
    looked = preflight("---\n".join([*texts, "merge_method: passthrough\nmodels: [{model: s30}]\n"]), library)
    assert [one.code for one in looked.findings if one.level == "error"] == ["too-many-stages"]
