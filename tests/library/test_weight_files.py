"""Weights without a config, or in files with names of their own: which files are read, and how one is named."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.facts import ModelFacts, OwnNames
from app.recipe.findings import Finding, Refused
from app.recipe.references import parse_reference
from tests.support.hub import StandInHub
from tests.support.raw_weights import Tensors, unet, vocoder, write

UNET, VOICE = unet(1), vocoder(2)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def read(disk: Path, inside: str) -> ModelFacts:
    library = Library(None, LocalRoots({"disk": disk}))
    try:
        return library.facts(parse_reference(f"local:disk/{inside}"))
    finally:
        library.close()


def refused(disk: Path, inside: str) -> Finding:
    with pytest.raises(Refused) as problem:
        read(disk, inside)
    (finding,) = problem.value.findings
    assert finding.fix
    return finding


def halves(tensors: Tensors) -> tuple[Tensors, Tensors]:
    names = sorted(tensors)
    return {one: tensors[one] for one in names[::2]}, {one: tensors[one] for one in names[1::2]}


def write_index(folder: Path, name: str, **files: Tensors) -> None:
    for file, tensors in files.items():
        write(folder / f"{file}.safetensors", tensors)
    weight_map = {tensor: f"{file}.safetensors" for file, tensors in files.items() for tensor in tensors}
    (folder / name).write_text(json.dumps({"weight_map": weight_map}))


def test_a_file_by_its_own_name(disk: Path) -> None:
    write(disk / "checkpoints" / "night.safetensors", UNET, "bfloat16")
    write(disk / "checkpoints" / "day.safetensors", UNET)
    found = read(disk, "checkpoints/night.safetensors")
    assert found.tensors.keys() == UNET.keys()
    assert (found.dtypes, found.weight_files, found.config) == (("BF16",), ("night.safetensors",), {})
    assert [file.name for file in found.files] == ["night.safetensors"]
    assert found.own_names == OwnNames()


def test_the_file_of_a_model_with_a_config_is_weights_alone(disk: Path) -> None:
    write(disk / "llm" / "model.safetensors", VOICE)
    (disk / "llm" / "config.json").write_text('{"model_type": "llama"}')
    assert read(disk, "llm").config
    assert not read(disk, "llm/model.safetensors").config


@pytest.mark.parametrize("file", ["model.safetensors", "some name (v2).safetensors"])
def test_a_folder_with_one_file(disk: Path, file: str) -> None:
    write(disk / "one" / file, VOICE)
    write(disk / "one" / "below" / "other.safetensors", UNET)
    (disk / "one" / f"._{file}").write_bytes(b"what a file system keeps beside it")
    found = read(disk, "one")
    assert (found.tensors.keys(), found.weight_files) == (VOICE.keys(), (file,))


def test_several_files_are_one_model_where_no_tensor_is_in_two(disk: Path) -> None:
    write(disk / "sd" / "unet.safetensors", UNET)
    write(disk / "sd" / "voice.safetensors", VOICE)
    found = read(disk, "sd")
    assert found.tensors.keys() == {**UNET, **VOICE}.keys()
    assert {one.file for one in found.tensors.values()} == {"unet.safetensors", "voice.safetensors"}
    assert read(disk, "sd/voice.safetensors").tensors.keys() == VOICE.keys()


def test_a_tensor_in_two_files_is_refused_by_its_name(disk: Path) -> None:
    write(disk / "two" / "a.safetensors", {"shared": VOICE["conv_pre.bias"], "mine": VOICE["conv_pre.bias"]})
    write(disk / "two" / "b.safetensors", {"shared": VOICE["conv_pre.bias"]})
    finding = refused(disk, "two")
    assert finding.code == "tensor-twice"
    assert "shared is both in a.safetensors and in b.safetensors" in finding.text
    assert "folder/a.safetensors" in finding.fix


def test_an_index_under_any_name_says_what_is_read(disk: Path) -> None:
    first, second = halves(UNET)
    write_index(disk / "unet", "diffusion.safetensors.index.json", one=first, two=second)
    write(disk / "unet" / "unet-fp16.safetensors", UNET, "float16")
    found = read(disk, "unet")
    assert found.weight_files == ("one.safetensors", "two.safetensors")
    assert found.own_names == OwnNames("diffusion.safetensors.index.json")
    (disk / "unet" / "other.safetensors.index.json").write_text("{}")
    assert refused(disk, "unet").code == "several-weights"


@pytest.mark.parametrize("shard", ["../one.safetensors", "/etc/passwd", "one.ckpt", "gone.safetensors"])
def test_such_an_index_cannot_point_elsewhere(disk: Path, shard: str) -> None:
    write(disk / "one.safetensors", UNET)
    write_index(disk / "unet", "x.safetensors.index.json", one=UNET)
    (disk / "unet" / "x.safetensors.index.json").write_text(json.dumps({"weight_map": {"conv_in.weight": shard}}))
    finding = refused(disk, "unet")
    assert finding.code in ("bad-index", "pickle-weights", "missing-shard")
    assert "x.safetensors.index.json" in finding.text


def test_numbered_files_must_all_be_there(disk: Path) -> None:
    first, second = halves(UNET)
    write(disk / "set" / "net-00001-of-00002.safetensors", first)
    assert refused(disk, "set").code == "missing-shard"
    write(disk / "set" / "net-00002-of-00002.safetensors", second)
    assert read(disk, "set").tensors.keys() == UNET.keys()


def test_the_files_of_diffusers_with_their_config(disk: Path) -> None:
    write(disk / "unet" / "diffusion_pytorch_model.safetensors", UNET)
    write(disk / "unet" / "diffusion_pytorch_model.fp16.safetensors", UNET, "float16")
    (disk / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    found = read(disk, "unet")
    assert (found.dtypes, found.weight_files) == (("F32",), ("diffusion_pytorch_model.safetensors",))
    assert (found.config["_class_name"], found.own_names) == ("UNet2DConditionModel", OwnNames())


def test_too_many_files_are_no_model(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.library.weight_files.MOST_FILES", 2)
    for number in range(3):
        write(disk / "heap" / f"{number}.safetensors", {f"w{number}": VOICE["conv_pre.bias"]})
    assert refused(disk, "heap").code == "several-weights"


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("name", ["net.ckpt", "net.pt", "net.pth", "net.bin", "net.pkl", "net.safetensors"])
@pytest.mark.parametrize("inside", ["net", "net/{name}"])
def test_pickles_are_refused_by_name_and_by_content(disk: Path, tmp_path: Path, name: str, inside: str) -> None:
    (disk / "net").mkdir()
    (disk / "net" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "canary")))
    finding = refused(disk, inside.format(name=name))
    assert finding.code == "pickle-weights"
    assert "safetensors" in finding.fix
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("../secret/net.safetensors", "bad-local-path"),
        ("net/../net.safetensors", "bad-local-path"),
        ("net/..\\net.safetensors", "bad-local-path"),
        ("net/", "bad-local-path"),
        ("net/link.safetensors", "outside-root"),
        ("out/net.safetensors", "outside-root"),
        ("net/fifo.safetensors", "model-not-found"),
        ("net/gone.safetensors", "model-not-found"),
        ("net/dangling.safetensors", "model-not-found"),
        ("net/notes.txt", "model-not-found"),
        ("net/net.gguf", "gguf-weights"),
        ("net/empty.safetensors", "bad-header"),
        ("net/net.safetensors@main", "no-revisions"),
    ],
)
def test_nothing_but_weights_in_a_root_is_reached(disk: Path, tmp_path: Path, inside: str, code: str) -> None:
    write(tmp_path / "secret" / "net.safetensors", VOICE)
    write(disk / "net" / "net.safetensors", VOICE)
    (disk / "net" / "link.safetensors").symlink_to(tmp_path / "secret" / "net.safetensors")
    (disk / "net" / "dangling.safetensors").symlink_to(disk / "nowhere")
    (disk / "out").symlink_to(tmp_path / "secret")
    os.mkfifo(disk / "net" / "fifo.safetensors")
    (disk / "net" / "notes.txt").write_text("x")
    (disk / "net" / "net.gguf").write_bytes(b"GGUF")
    (disk / "net" / "empty.safetensors").write_bytes(b"")
    assert refused(disk, inside).code == code


def test_a_link_inside_the_root_keeps_its_name(disk: Path) -> None:
    """As caches have it: files named by their content, and links to them."""
    write(disk / "blobs" / "0123abcd", VOICE)
    (disk / "snapshot").mkdir()
    (disk / "snapshot" / "voice.safetensors").symlink_to("../blobs/0123abcd")
    assert read(disk, "snapshot/voice.safetensors").weight_files == ("voice.safetensors",)


def test_a_folder_with_nothing_to_read_says_so(disk: Path) -> None:
    (disk / "empty").mkdir()
    assert refused(disk, "empty").code == "no-config"
    (disk / "empty" / "optimizer.pt").write_bytes(b"whatever it is")
    finding = refused(disk, "empty")
    assert (finding.code, "optimizer.pt" in finding.text) == ("no-config", True)


def test_what_is_listed(disk: Path) -> None:
    """Files by themselves, unless they are one model for sure."""
    for name in ("one.safetensors", "two.safetensors", "a+b.safetensors", "._one.safetensors"):
        write(disk / "checkpoints" / name, VOICE)
    first, second = halves(UNET)
    write_index(disk / "checkpoints" / "indexed", "x.safetensors.index.json", one=first, two=second)
    write(disk / "net-00001-of-00001" / "net-00001-of-00001.safetensors", UNET)
    write(disk / "plain" / "model.safetensors", UNET)
    write(disk / "adapter" / "adapter_model.safetensors", UNET)
    (disk / "adapter" / "adapter_config.json").write_text("{}")
    assert dict(LocalRoots({"disk": disk}).models()) == {
        "local:disk/adapter": True,
        "local:disk/checkpoints/one.safetensors": False,
        "local:disk/checkpoints/two.safetensors": False,
        "local:disk/checkpoints/indexed": False,
        "local:disk/net-00001-of-00001": False,
        "local:disk/plain": False,
    }


def test_on_the_command_line_a_path_names_a_file(tmp_path: Path) -> None:
    write(tmp_path / "a" / "net.safetensors", VOICE)
    (tmp_path / "a" / "net.ckpt").write_bytes(b"\x80\x02")
    library = Library(None, LocalRoots({}), tmp_path)
    for ref in ("./a/net.safetensors", "a/net.safetensors", str(tmp_path / "a" / "net.safetensors"), "a"):
        facts = library.facts(parse_reference(ref))
        assert facts.tensors.keys() == VOICE.keys() if ref != "a" else True
        assert library.folder(facts) == tmp_path / "a"
    for ref, code in (("./a/net.ckpt", "pickle-weights"), ("./a/gone.safetensors", "model-not-found")):
        with pytest.raises(Refused) as problem:
            library.facts(parse_reference(ref))
        assert problem.value.findings[0].code == code
    library.close()


def test_on_the_web_a_path_names_nothing(tmp_path: Path) -> None:
    write(tmp_path / "net.safetensors", VOICE)
    library = Library(None, LocalRoots({"disk": tmp_path}))
    with pytest.raises(Refused) as problem:
        library.facts(parse_reference(str(tmp_path / "net.safetensors")))
    assert problem.value.findings[0].code == "bad-reference"
    library.close()


def test_a_repository_without_a_config(library: Library, hub: StandInHub) -> None:
    folder = hub.repos.root / "alice/net"
    write(folder / "night.safetensors", UNET, "bfloat16")
    facts = library.facts(parse_reference("alice/net"))
    assert (facts.tensors.keys(), facts.config, facts.commit) == (UNET.keys(), {}, hub.commit_of("alice/net"))


def test_a_repository_with_weights_in_folders_only(library: Library, hub: StandInHub) -> None:
    write(hub.repos.root / "alice/pipeline" / "unet" / "diffusion_pytorch_model.safetensors", UNET)
    with pytest.raises(Refused) as problem:
        library.facts(parse_reference("alice/pipeline"))
    (finding,) = problem.value.findings
    assert finding.code == "no-weights"
    assert "unet/diffusion_pytorch_model.safetensors" in finding.text
    assert "local" in finding.fix
