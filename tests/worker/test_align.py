"""Merges of models with different vocabularies, from the recipe to a checkpoint that transformers loads and uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.plan import Alignment
from app.preflight import preflight
from app.recipe.findings import Refused
from tests.support.checkpoints import encoded, from_bf16, read_tensors, rounded, to_bf16, write_json, write_weights
from tests.support.quiet import Quiet
from tests.support.tiny_models import make_tiny
from worker.engine.dtypes import decode
from worker.engine.execute import Written
from worker.steps import align
from worker.steps.align import FOLDER, aligned, encode, write_aligned
from worker.steps.checkpoint import Order, make_checkpoint

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
VOCAB, PADDED = 300, 320


def grow(folder: Path, base: Path, seed: int, special: Sequence[str], rows: int | None = None) -> Path:
    """A fine-tune of ``base`` with added tokens, its embedding ``rows`` long (as many as there are tokens)."""
    make_tiny(folder, seed=seed, base=base)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    return resize(folder, rows or tokenizer.get_vocab_size(), seed)


def resize(folder: Path, rows: int, seed: int) -> Path:
    tensors = read_tensors(folder)
    rng = np.random.default_rng(seed)
    for name in {EMBEDDING, HEAD} & tensors.keys():
        fresh = rng.normal(0, 0.02, (rows, tensors[name].shape[1])).astype(np.float32)
        have = min(rows, len(tensors[name]))
        fresh[:have] = tensors[name][:have]
        tensors[name] = fresh
    config = json.loads((folder / "config.json").read_text())
    write_weights(folder, tensors, config["dtype"])
    write_json(folder / "config.json", config | {"vocab_size": rows})
    return folder


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``base`` (300 tokens, 320 rows), ``tools`` and ``think`` (two added tokens each, one of them common)."""
    disk = tmp_path_factory.mktemp("disk")
    base = make_tiny(disk / "plain", seed=1, vocab=VOCAB, layers=2)
    grow(disk / "tools", base, 2, ["<tool>", "<both>"])
    grow(disk / "think", base, 3, ["<both>", "<think>"])
    grow(disk / "base", base, 4, [], rows=PADDED)
    tied = make_tiny(disk / "tied", seed=5, vocab=VOCAB, layers=2, tied=True, kind="qwen2")
    grow(disk / "tied-tools", tied, 6, ["<tool>"])
    return disk


@pytest.fixture(scope="module")
def library(disk: Path):
    library = Library(None, LocalRoots({"disk": disk}))
    yield library
    library.close()


def made(text: str, library: Library, folder: Path) -> Path:
    make_checkpoint(Order(text, folder / "work", folder / "out", threads=2), library, Quiet())
    assert not (folder / "work").exists()
    return folder / "out"


def linear(models: dict[str, float], more: str) -> str:
    listed = "".join(
        f"- {{model: local:disk/{name}, parameters: {{weight: {weight}}}}}\n" for name, weight in models.items()
    )
    return f"merge_method: linear\nmodels:\n{listed}dtype: float32\n{more}"


def vocabulary(folder: Path) -> dict[str, int]:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()


def by_token(disk: Path, names: Sequence[str], tensor: str) -> list[dict[str, np.ndarray]]:
    """Each model's rows by token."""
    found = []
    for name in names:
        values = read_tensors(disk / name)
        matrix = values.get(tensor, values[EMBEDDING]).astype(np.float64)
        found.append({token: matrix[row] for token, row in vocabulary(disk / name).items() if row < len(matrix)})
    return found


def use(folder: Path, text: str) -> list[int]:
    """Load the result and run a text through it; the ids it was cut into."""
    import torch
    import transformers

    model, remarks = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(remarks.values()), remarks
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.isfinite(model(ids).logits).all()
    assert tokenizer.decode(ids[0]) == text
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size
    return ids[0].tolist()


@pytest.mark.parametrize("order", [("tools", "think"), ("think", "tools")])
def test_a_union_merges_row_by_row_what_is_the_same_token(disk: Path, library: Library, tmp_path: Path, order):
    out = made(linear(dict(zip(order, (0.75, 0.25), strict=True)), "tokenizer_source: union\n"), library, tmp_path)
    ids = vocabulary(out)
    assert set(ids) == set(vocabulary(disk / "tools")) | set(vocabulary(disk / "think"))
    assert sorted(ids.values()) == list(range(VOCAB + 3))
    result = read_tensors(out)
    for tensor in (EMBEDDING, HEAD):
        parents = by_token(disk, order, tensor)
        for token, row in ids.items():
            rows = [one.get(token) for one in parents]
            first, second = (own if own is not None else other for own, other in (rows, rows[::-1]))
            assert np.abs(result[tensor][row] - (0.75 * first + 0.25 * second)).max() < 1e-7, token
    assert json.loads((out / "config.json").read_text())["vocab_size"] == VOCAB + 3
    assert ids["<think>"] in use(out, "say <think> to a<tool> and <both>")


def test_the_bases_padding_takes_the_new_tokens(disk: Path, library: Library, tmp_path: Path):
    text = linear({"tools": 0.75, "think": 0.25}, "base_model: local:disk/base\ntokenizer: {source: union}\n")
    out = made(text, library, tmp_path)
    result, ids = read_tensors(out), vocabulary(out)
    assert result[EMBEDDING].shape == result[HEAD].shape == (PADDED, 32)
    assert [token for token, row in sorted(ids.items(), key=lambda one: one[1]) if row >= VOCAB] == [
        "<tool>", "<both>", "<think>",
    ]  # fmt: skip
    padding = read_tensors(disk / "base")[EMBEDDING][VOCAB + 3 :]
    np.testing.assert_allclose(result[EMBEDDING][VOCAB + 3 :], padding, atol=1e-7)
    config = json.loads((out / "config.json").read_text())
    assert config["vocab_size"] == PADDED
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 2
    assert ids["<tool>"] in use(out, "a <tool>!")


def test_the_bases_tokenizer_alone(disk: Path, library: Library, tmp_path: Path):
    text = linear({"tools": 0.5, "think": 0.5}, "base_model: local:disk/plain\ntokenizer_source: base\n")
    out = made(text, library, tmp_path)
    assert (out / "tokenizer.json").read_bytes() == (disk / "plain" / "tokenizer.json").read_bytes()
    expected = (read_tensors(disk / "tools")[HEAD][:VOCAB] + read_tensors(disk / "think")[HEAD][:VOCAB]) / 2
    np.testing.assert_allclose(read_tensors(out)[HEAD], expected, atol=1e-7)
    use(out, "a plain text")


def test_tied_heads_grow_together(disk: Path, library: Library, tmp_path: Path):
    out = made(linear({"tied": 0.5, "tied-tools": 0.5}, "tokenizer_source: union\n"), library, tmp_path)
    result = read_tensors(out)
    assert HEAD not in result
    assert result[EMBEDDING].shape == (VOCAB + 1, 32)
    np.testing.assert_allclose(result[EMBEDDING][VOCAB], read_tensors(disk / "tied-tools")[EMBEDDING][VOCAB], atol=1e-7)
    assert VOCAB in use(out, "use <tool>")


def test_added_rows_are_the_mean(disk: Path, library: Library, tmp_path: Path):
    block = "tokenizer: {source: union, pad_to_multiple_of: 64}\n"
    out = made(linear({"tools": 0.75, "think": 0.25}, block), library, tmp_path)
    result = read_tensors(out)[EMBEDDING]
    assert result.shape == (PADDED, 32)
    means = [read_tensors(disk / name)[EMBEDDING].astype(np.float64).mean(0) for name in ("tools", "think")]
    for row in range(VOCAB + 3, PADDED):
        np.testing.assert_allclose(result[row], 0.75 * means[0] + 0.25 * means[1], atol=1e-7)
    assert json.loads((out / "config.json").read_text())["vocab_size"] == PADDED


def test_a_frankenmerge_takes_rows_from_whoever_has_them(disk: Path, library: Library, tmp_path: Path):
    text = (
        "merge_method: passthrough\nslices:\n- sources: [{model: local:disk/tools, layer_range: [0, 2]}]\n"
        "- sources: [{model: local:disk/think, layer_range: [1, 2]}]\ntokenizer_source: union\n"
    )
    out = made(text, library, tmp_path)
    result, ids = read_tensors(out), vocabulary(out)
    for tensor, order in ((EMBEDDING, ("tools", "think")), (HEAD, ("think", "tools"))):
        first, second = by_token(disk, order, tensor)
        for token, row in ids.items():
            np.testing.assert_array_equal(result[tensor][row], first.get(token, second.get(token)))
    use(out, "a <think><tool>")


class Stop(Exception):
    """What a watch raises to stop the work."""


class Remembering(Quiet):
    """Keeps finished shards by the plan's key; stops at the first one when told to."""

    def __init__(self, kept: dict[tuple[str, str], Written], stop: bool) -> None:
        super().__init__()
        self.kept, self.stop = kept, stop

    def finished(self, key: str) -> dict[str, Written]:
        return {file: written for (of, file), written in self.kept.items() if of == key}

    def shard(self, written: Written, key: str) -> None:
        self.kept[key, written.file] = written
        if self.stop:
            raise Stop


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_an_interrupted_merge_goes_on_to_the_same_bytes(disk: Path, library: Library, tmp_path: Path):
    text = linear({"tools": 0.75, "think": 0.25}, "tokenizer_source: union\n")
    whole = made(text, library, tmp_path / "whole")
    order = Order(text, tmp_path / "work", tmp_path / "out")
    kept: dict[tuple[str, str], Written] = {}
    with pytest.raises(Stop):
        make_checkpoint(order, library, Remembering(kept, stop=True))
    assert not (order.work / FOLDER).exists()
    (order.work / FOLDER).mkdir()
    (order.work / FOLDER / "left.rows").write_bytes(b"left by a process that was killed")
    watch = Remembering(kept, stop=False)
    make_checkpoint(order, library, watch)
    assert "Going on after 1 finished of 1 files." in watch.lines
    assert digests(tmp_path / "out") == digests(whole)


@pytest.mark.parametrize("block", [1, 1000, 1 << 20])
def test_blocks_of_any_size_give_the_same_rows(
    disk: Path, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
):
    text = linear({"think": 0.5, "tools": 0.5}, "tokenizer: {pad_to_multiple_of: 64}\nbase_model: local:disk/plain\n")
    plan = preflight(text, library).plan
    assert plan is not None
    folders = [disk / parent.ref.removeprefix("local:disk/") for parent in plan.parents]
    monkeypatch.setattr(align, "BLOCK_BYTES", block)
    with aligned(plan, folders, tmp_path, Quiet()) as (laid_out, places):
        assert len(laid_out.parents) == len(places) == 6
        for one in plan.alignments:
            raw = (places[one.parent + 3] / one.tensor.file).read_bytes()
            found = decode(np.frombuffer(raw, np.uint8), one.tensor.dtype).reshape(one.tensor.shape)
            np.testing.assert_array_equal(found, expected(one, folders))
    assert not (tmp_path / FOLDER).exists()


def expected(one: Alignment, folders: Sequence[Path]) -> np.ndarray:
    """The aligned matrix, row by row."""
    own, *others = (read_tensors(folders[matrix.parent])[matrix.tensor.name] for matrix in one.inputs)
    own = own.astype(np.float64)
    matrices = dict(zip(one.sources, others, strict=True))
    rows = []
    for row, number in enumerate(one.own):
        if number >= 0:
            rows.append(own[number])
        elif one.fill[row] is None:
            rows.append(own.mean(axis=0))
        else:
            picked = [matrices[parent][source].astype(np.float64) for parent, source in one.fill[row]]
            rows.append(np.mean(picked, axis=0) if picked else np.zeros(one.tensor.shape[1]))
    return np.array(rows).astype(np.float32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_numbers_go_in_and_out_unchanged(dtype: str):
    name = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"}[dtype]
    values = np.random.default_rng(1).normal(size=(3, 5))
    kept = values if dtype == "float64" else rounded(values.astype(np.float32), dtype)
    raw = np.ascontiguousarray(encoded(kept, dtype)).view(np.uint8)
    np.testing.assert_array_equal(decode(raw, name), kept)
    np.testing.assert_array_equal(encode(decode(raw, name), name), raw)
    assert decode(to_bf16(np.float32([1.5])).view(np.uint8), "BF16") == from_bf16(to_bf16(np.float32([1.5])))


def test_a_parent_that_was_cut_short_is_told(disk: Path, library: Library, tmp_path: Path):
    plan = preflight(linear({"tools": 0.5, "think": 0.5}, "tokenizer_source: union\n"), library).plan
    assert plan is not None
    (tmp_path / "model.safetensors").write_bytes((disk / "tools" / "model.safetensors").read_bytes()[:3000])
    with pytest.raises(Refused, match="has 3000 bytes instead of"):
        write_aligned(plan.alignments[0], plan, [tmp_path, tmp_path], tmp_path / "rows", Quiet())


def test_the_room_for_aligned_matrices_is_counted(library: Library):
    looked = preflight(linear({"tools": 0.5, "think": 0.5}, "tokenizer_source: union\n"), library)
    assert looked.plan is not None
    assert looked.estimate is not None
    assert looked.plan.alignment_bytes == 4 * (VOCAB + 3) * 32 * 2
    assert looked.estimate.disk_bytes >= looked.estimate.output_bytes + looked.plan.alignment_bytes
