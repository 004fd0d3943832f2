"""A tokenizer block over matrices that an earlier document makes: the same as two merges, one after the other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.estimate import estimate
from app.planning.shares import loom
from tests.support import families
from tests.support.checkpoints import read_tensors
from tests.support.quiet import Quiet
from tests.support.tiny_models import make_tiny
from tests.worker.quiet import merged, plan_of
from tests.worker.test_align import EMBEDDING, HEAD, PADDED, VOCAB, grow
from worker.steps.align import FOLDER
from worker.steps.checkpoint import Order, make_checkpoint

SOUP = """
merge_method: ties
base_model: 'local:disk/plain'
models:
- {model: 'local:disk/left', parameters: {weight: 0.6, density: 0.4}}
- {model: 'local:disk/right', parameters: {weight: 0.7, density: 0.5}}
"""
LINEAR = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: SOUP}, {model: 'local:disk/tools'}]\n"
JOINED = f"{LINEAR}tokenizer: {{source: union}}\n"
DELTAS = """
merge_method: dare_ties
base_model: SOUP
parameters: {weight: 0.5, density: 0.7}
models: [{model: 'local:disk/tools'}, {model: 'local:disk/think'}, {model: 'local:disk/plain'}]
seed: 3
tokenizer:
  source: union
  pad_to_multiple_of: 16
  tokens:
    <new>: {source: {kind: model_token, model: SOUP, token_id: 5}}
    <mean>: {}
    <tool>: {source: {kind: zero}, force: true}
    <left>: {source: 'SOUP', force: true}
"""
TAKEN = f"{LINEAR}tokenizer: {{source: SOUP}}\n"
COPIED = "\nmerge_method: passthrough\nmodels: [{model: 'local:disk/left'}]\n"
GROWN = f"{SOUP}tokenizer: {{source: base, tokens: {{<left>: {{}}, <first>: {{source: {{kind: zero}}}}}}}}\n"
"""A first document with a vocabulary of its own."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine-tunes of ``plain``: ``left`` and ``right`` with its vocabulary; ``tools`` and ``think`` with more tokens."""
    disk = tmp_path_factory.mktemp("disk")
    base = make_tiny(disk / "plain", seed=1, vocab=VOCAB, layers=2)
    grow(disk / "left", base, 2, ["<left>"], rows=PADDED)
    for name, seed in (("plain", 3), ("right", 4)):
        grow(disk / f"{name}-grown", base, seed, ["<left>"], rows=PADDED)
    grow(disk / "tools", base, 5, ["<tool>", "<both>"])
    grow(disk / "think", base, 6, ["<both>", "<think>"])
    (disk / "plain").rename(disk / "small")
    (disk / "plain-grown").rename(disk / "plain")
    (disk / "right-grown").rename(disk / "right")
    return disk


@pytest.fixture(scope="module")
def library(disk: Path):
    library = Library(None, LocalRoots({"disk": disk}))
    yield library
    library.close()


def contents(folder: Path) -> dict[str, str]:
    """Every tensor's hash, and the text of what lies beside the weights but recipe and card."""
    beside = {path.name: path.read_text() for path in folder.glob("*.json") if path.name != "MANIFEST.json"}
    return {name: hashlib.sha256(values.tobytes()).hexdigest() for name, values in read_tensors(folder).items()} | {
        name: json.loads(text) for name, text in beside.items() if name != "model.safetensors.index.json"
    }


@pytest.mark.parametrize("first", [SOUP, COPIED, GROWN], ids=["merged", "copied", "grown"])
@pytest.mark.parametrize("last", [JOINED, DELTAS, TAKEN], ids=["union", "deltas", "taken"])
def test_it_gives_what_two_merges_give(first: str, last: str, disk: Path, library: Library, tmp_path: Path) -> None:
    """DARE draws by the parents' names, which is why the soup is called alike in both."""
    first += "dtype: bfloat16\n"
    name = "local:disk/soup"
    merged(first, library, tmp_path / "first")
    (tmp_path / "first" / "out").rename(disk / "soup")
    merged(last.replace("SOUP", name), library, tmp_path / "second")
    (disk / "soup").rename(tmp_path / "soup")
    plan = merged(f"name: '{name}'{first}---\n{last.replace('SOUP', name)}", library, tmp_path / "fused")
    assert plan.alignments
    out = tmp_path / "fused" / "out"
    assert contents(out) == contents(tmp_path / "second" / "out")
    assert not (tmp_path / "fused" / "work" / FOLDER).exists()
    assert (tmp_path / "first").exists()
    families.load(out)


def test_a_matrix_is_laid_out_anew_for_each_document(disk: Path, library: Library, tmp_path: Path) -> None:
    """Three documents: the second has a vocabulary of its own and copies nothing, the third another one."""
    second = f"\n{JOINED.replace('SOUP', 'one')}dtype: bfloat16\n"
    third = DELTAS.replace("SOUP", "two")
    merged(f"name: one{GROWN}dtype: bfloat16\n---\n{second}", library, tmp_path / "second")
    (tmp_path / "second" / "out").rename(disk / "two")
    merged(DELTAS.replace("SOUP", "local:disk/two"), library, tmp_path / "third")
    (disk / "two").rename(tmp_path / "two")
    named = third.replace("two", "local:disk/two")
    merged(f"name: one{GROWN}dtype: bfloat16\n---\nname: 'local:disk/two'{second}---\n{named}", library,
           tmp_path / "fused")  # fmt: skip
    assert contents(tmp_path / "fused" / "out") == contents(tmp_path / "third" / "out")


def test_threads_change_nothing_and_the_work_can_be_stopped(disk: Path, library: Library, tmp_path: Path) -> None:
    recipe = f"name: soup{SOUP}---\n{DELTAS.replace('SOUP', 'soup')}"
    hashes = []
    for threads in (1, 3):
        out = tmp_path / str(threads)
        make_checkpoint(Order(recipe, tmp_path / "work", out, threads=threads), library, Quiet())
        hashes.append(contents(out))
    assert hashes[0] == hashes[1]
    with pytest.raises(InterruptedError):
        make_checkpoint(Order(recipe, tmp_path / "work", tmp_path / "no"), library, Stopped())
    assert not (tmp_path / "work" / FOLDER).exists()
    assert not (tmp_path / "no").exists()


class Stopped(Quiet):
    """Stops the work once matrices are being laid out."""

    def check(self) -> None:
        if any("Laying out" in line for line in self.lines):
            raise InterruptedError


def test_what_it_takes_and_whose_it_is_are_told(library: Library) -> None:
    plan = plan_of(library, f"name: soup{SOUP}---\n{JOINED.replace('SOUP', 'soup')}")
    alone = plan_of(library, JOINED.replace("SOUP", "local:disk/left"))
    assert estimate(plan).peak_memory_bytes > estimate(alone).peak_memory_bytes
    assert {plan.parents[parent].ref for parent, _ in plan.files_needed} == {
        f"local:disk/{name}" for name in ("plain", "left", "right", "tools")
    }
    (row,) = (row for row in loom(plan).rows if row.label == "embeddings")
    shares = dict(zip((one.ref for one in plan.parents), row.cells[0].shares if row.cells[0] else (), strict=True))
    assert shares["local:disk/tools"] == pytest.approx(0.5)
    assert shares["local:disk/left"] > 0
    assert {one.tensor.name for one in plan.alignments} <= {EMBEDDING, HEAD}
