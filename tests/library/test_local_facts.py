"""Facts of models on disk, against the safetensors library. Broken folders are refused with the reason."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.facts import ModelFacts
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from tests.support.tiny_models import make_tiny

INDEX = "model.safetensors.index.json"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def read(disk: Path, reference: str = "local:disk/model") -> ModelFacts:
    return Library(None, LocalRoots({"disk": disk})).facts(parse_reference(reference))


def refusal(disk: Path, reference: str = "local:disk/model") -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        read(disk, reference)
    (finding,) = refused.value.findings
    assert finding.text
    assert finding.fix
    assert reference in finding.where
    return finding.code, finding.where


@pytest.mark.parametrize("shards", [1, 3])
def test_facts_agree_with_the_safetensors_library(disk: Path, shards: int) -> None:
    folder = make_tiny(disk / "model", seed=1, shards=shards)
    facts = read(disk)
    assert facts.config == json.loads((folder / "config.json").read_text())
    assert facts.ref == "local:disk/model"
    assert facts.commit is None
    assert set(facts.texts) == {"generation_config.json", "tokenizer_config.json"}
    assert facts.texts["generation_config.json"] == (folder / "generation_config.json").read_text()
    assert {file.name: (file.size, file.present) for file in facts.files} == {
        path.name: (path.stat().st_size, True) for path in folder.iterdir()
    }
    seen = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "numpy") as opened:
            for name in opened.keys():  # noqa: SIM118
                piece, tensor = opened.get_slice(name), facts.tensors[name]
                assert (tensor.file, tensor.dtype, list(tensor.shape)) == (
                    path.name,
                    piece.get_dtype(),
                    piece.get_shape(),
                )
                seen += 1
    assert seen == len(facts.tensors)


def test_offsets_point_at_the_values(disk: Path) -> None:
    (disk / "model").mkdir()
    (disk / "model" / "config.json").write_text("{}")
    values = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.full((2, 2), 7, np.float16)}
    save_file(values, disk / "model" / "model.safetensors")
    raw = (disk / "model" / "model.safetensors").read_bytes()
    for name, tensor in read(disk).tensors.items():
        assert raw[tensor.begin : tensor.end] == values[name].tobytes()


def test_a_header_longer_than_the_first_look_is_read_whole(disk: Path) -> None:
    (disk / "model").mkdir()
    (disk / "model" / "config.json").write_text("{}")
    tensors = {f"model.layers.{n}.some.rather.long.name.weight": np.zeros((1, 1), np.float32) for n in range(900)}
    save_file(tensors, disk / "model" / "model.safetensors")
    assert set(read(disk).tensors) == set(tensors)


def test_shards_without_an_index_are_found_by_their_numbers(disk: Path) -> None:
    folder = make_tiny(disk / "model", seed=1, shards=3)
    expected = set(read(disk).tensors)
    (folder / INDEX).unlink()
    assert set(read(disk).tensors) == expected
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert refusal(disk)[0] == "missing-shard"


def test_an_adapter_needs_no_config_of_its_own(disk: Path) -> None:
    (disk / "model").mkdir()
    (disk / "model" / "adapter_config.json").write_text('{"r": 8}')
    save_file({"a.lora_A.weight": np.zeros((8, 4), np.float32)}, disk / "model" / "adapter_model.safetensors")
    facts = read(disk)
    assert (facts.config, facts.texts["adapter_config.json"]) == ({}, '{"r": 8}')
    assert list(facts.tensors) == ["a.lora_A.weight"]


def test_licence_and_bases_come_from_the_card(disk: Path) -> None:
    folder = make_tiny(disk / "model", seed=1, layers=1)
    assert read(disk).licence is None
    (folder / "README.md").write_text(
        "---\nlanguage:\n- en\nlicense: apache-2.0\nbase_model:\n- a/b\n- c/d # the other\ntags: [x/y]\n"
        "---\nlicense: mit\nbase_model: e/f\n"
    )
    assert (read(disk).licence, read(disk).base_models) == ("apache-2.0", ("a/b", "c/d"))
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: my-own\nbase_model: a/b\n---\n")
    assert (read(disk).licence, read(disk).base_models) == ("my-own", ("a/b",))
    (folder / "README.md").write_bytes(b"\xff---\nlicense: mit\n")
    assert read(disk).licence is None


def test_facts_follow_a_change_on_disk_and_are_else_kept(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny(disk / "model", seed=1, layers=1)
    library = Library(None, LocalRoots({"disk": disk}))
    ref = parse_reference("local:disk/model")
    first = library.facts(ref)
    assert library.facts(ref).tensors is first.tensors
    config = json.loads((folder / "config.json").read_text()) | {"changed": 1}
    (folder / "config.json").write_text(json.dumps(config))
    assert library.facts(ref).config["changed"] == 1


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": 1, "a": 2}')


def huge_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": "' + "x" * 1_000_000 + '"}')


def deep_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 50_000 + "1" + "}" * 50_000)


def list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "model.safetensors").unlink()


def binary_text(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_bytes(b"\xff\xfe")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights.npz")


def cut_weights(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size - 1)


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def only_gguf(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model-q4.gguf").write_bytes(b"GGUF" + bytes(60))


def gptq(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"quantization_config": {"quant_method": "gptq"}}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(
        {"embed": np.zeros((4, 4), np.float16), "q.qweight": np.zeros((4, 4), np.int32)}, folder / "model.safetensors"
    )


def all_integers(folder: Path) -> None:
    save_file({"q": np.zeros((4, 4), np.int8)}, folder / "model.safetensors")


def lfs_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (break_config, "bad-config"),
        (huge_config, "file-too-large"),
        (deep_config, "bad-config"),
        (list_config, "bad-config"),
        (no_config, "no-config"),
        (binary_text, "bad-config"),
        (no_weights, "no-weights"),
        (cut_weights, "bad-header"),
        (empty_weights, "bad-header"),
        (only_gguf, "gguf-weights"),
        (gptq, "quantised-weights"),
        (all_integers, "quantised-weights"),
        (lfs_pointer, "lfs-pointer"),
    ],
)
def test_broken_models_are_refused_with_the_reason(disk: Path, harm, code: str) -> None:  # type: ignore[no-untyped-def]
    folder = make_tiny(disk / "model", seed=1, layers=1)
    assert read(disk).tensors
    harm(folder)
    assert refusal(disk)[0] == code


def test_integer_buffers_beside_ordinary_weights_are_fine(disk: Path) -> None:
    (disk / "model").mkdir()
    (disk / "model" / "config.json").write_text("{}")
    save_file(
        {"w": np.zeros((4, 4), np.float16), "attn.bias": np.zeros((1, 1, 4, 4), np.uint8)},
        disk / "model" / "model.safetensors",
    )
    assert len(read(disk).tensors) == 2


@pytest.mark.parametrize(
    "shard", ["../other/model.safetensors", "/etc/passwd", "C:\\x.safetensors", "a\0.safetensors", "sub/x.safetensors"]
)
def test_an_index_cannot_point_elsewhere(disk: Path, shard: str) -> None:
    make_tiny(disk / "other", seed=2, layers=1)
    folder = make_tiny(disk / "model", seed=1, shards=2)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][next(iter(index["weight_map"]))] = shard
    (folder / INDEX).write_text(json.dumps(index))
    assert refusal(disk)[0] == "bad-index"


def test_an_index_must_tell_the_truth(disk: Path) -> None:
    folder = make_tiny(disk / "model", seed=1, shards=2)
    index = json.loads((folder / INDEX).read_text())
    first, last = sorted(set(index["weight_map"].values()))
    swapped = {name: last if shard == first else first for name, shard in index["weight_map"].items()}
    (folder / INDEX).write_text(json.dumps(index | {"weight_map": swapped}))
    assert refusal(disk)[0] == "tensor-not-in-shard"
    (folder / INDEX).write_text(json.dumps(index))
    (folder / last).unlink()
    assert refusal(disk)[0] == "missing-shard"


def test_a_tensor_in_two_shards_is_refused(disk: Path) -> None:
    folder = make_tiny(disk / "model", seed=1, shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")
    (folder / INDEX).unlink()
    assert refusal(disk)[0] == "tensor-twice"


class Bomb:
    """Drops a canary file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "model-00001-of-00001.safetensors"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_are_never_opened_whatever_their_name(disk: Path, tmp_path: Path, name: str, protocol: int) -> None:
    canary = tmp_path / "canary"
    folder = make_tiny(disk / "model", seed=1, layers=1)
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb(canary), protocol=protocol))
    codes = ("pickle-weights",) if protocol else ("bad-header", "no-weights")
    assert refusal(disk)[0] in codes
    assert not canary.exists()


def test_files_that_are_links_out_of_the_root_are_refused(disk: Path, tmp_path: Path) -> None:
    folder = make_tiny(disk / "model", seed=1, layers=1)
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    assert refusal(disk)[0] == "outside-root"


def test_only_regular_files_are_looked_at(disk: Path) -> None:
    folder = make_tiny(disk / "model", seed=1, layers=1)
    os.mkfifo(folder / "tokenizer.model")
    (folder / "generation_config.json").unlink()
    os.mkfifo(folder / "generation_config.json")
    (folder / "dangling.json").symlink_to("nowhere")
    names = {file.name for file in read(disk).files}
    assert names.isdisjoint({"tokenizer.model", "generation_config.json", "dangling.json"})
