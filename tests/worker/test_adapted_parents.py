"""``base+adapter`` as a parent, from recipe to finished checkpoint: any method, any vocabulary, from the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

from app.hub.client import HubClient
from app.library.facts import Library
from app.library.local import LocalRoots
from app.preflight import preflight
from app.recipe.catalogue import METHODS, Method
from app.recipe.findings import Refused
from app.storage.local import read_manifest
from tests.support.adapters import factors, product, write_adapter
from tests.support.checkpoints import read_tensors
from tests.support.hub import StandInHub
from tests.support.quiet import Quiet
from tests.support.real_models import ADAPTERS, prepare
from tests.support.tiny_models import make_tiny
from worker.steps.checkpoint import Order, make_checkpoint

MODULES = {"self_attn.q_proj": (32, 32), "mlp.down_proj": (32, 96)}
REF = "local:d/base+local:d/chatty"
NAMES = [f"model.layers.{layer}.{module}" for layer in range(2) for module in MODULES]


def lora(folder: Path, seed: int, **settings: object) -> Path:
    tensors: dict[str, np.ndarray] = {}
    for name in NAMES:
        outputs, inputs = MODULES[name.split(".", 3)[3]]
        tensors |= factors(name, outputs, inputs, seed=seed)
    return write_adapter(folder, tensors, **settings)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``base`` in fp32 and three adapters of it; ``baked`` holds the three models they make, in fp32."""
    disk = tmp_path_factory.mktemp("disk")
    base = make_tiny(disk / "base", seed=1, layers=2, hidden=32, dtype="float32")
    make_tiny(disk / "other", seed=2, base=base)
    for seed in range(3):
        lora(disk / f"lora{seed}", seed)
    library = Library(None, LocalRoots({"d": disk}))
    for seed in range(3):
        text = f"merge_method: passthrough\nmodels: [{{model: local:d/base+local:d/lora{seed}}}]\n"
        make_checkpoint(Order(text, disk / "work", disk / f"baked{seed}"), library, Quiet())
    library.close()
    return disk


@pytest.fixture
def library(disk: Path) -> Iterator[Library]:
    library = Library(None, LocalRoots({"d": disk}))
    yield library
    library.close()


def made(text: str, library: Library, folder: Path, **how: object) -> Path:
    make_checkpoint(Order(text, folder / "work", folder / "out", **how), library, Quiet())  # type: ignore[arg-type]
    return folder / "out"


def recipe(method: Method, parents: list[str], more: str = "") -> str:
    """A recipe with the first of ``parents`` as the base, where the method has one, and every value it needs."""
    count = method.max_parents or len(parents)
    based = method.base == "required"
    listed = parents[:count] if not based or method.base_counts else parents[1 : count + 1]
    lines = [f"merge_method: {method.name}", *([f"base_model: {parents[0]}"] if based else []), "models:"]
    needed = [one for one in method.parameters if one.required]
    for number, parent in enumerate(listed):
        own = {one.name: 0.4 + 0.1 * number for one in needed if one.scope != "tensor"}
        lines.append(f"- {{model: {parent}, parameters: {json.dumps(own)}}}")
    shared = {one.name: 0.4 for one in needed if one.scope == "tensor"}
    lines += [f"parameters: {json.dumps(shared)}", "dtype: float32", more]
    return "\n".join(lines)


def test_one_adapter_alone_gives_the_sum(disk: Path):
    base, got = read_tensors(disk / "base"), read_tensors(disk / "baked1")
    tensors = {name.removeprefix("base_model.model."): one for name, one in read_tensors(disk / "lora1").items()}
    assert base.keys() == got.keys()
    for name, own in base.items():
        module = name.removesuffix(".weight")
        wanted = own.astype(np.float64) + (2 * product(tensors, module) if module in NAMES else 0)
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=3e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_method_takes_adapters_for_the_models_they_make(
    method: Method, disk: Path, library: Library, tmp_path: Path
):
    bases = ["local:d/base"] if method.base == "required" else []
    adapted = made(
        recipe(method, [*bases, *(f"local:d/base+local:d/lora{seed}" for seed in range(3))]), library, tmp_path / "a"
    )
    baked = made(recipe(method, [*bases, *(f"local:d/baked{seed}" for seed in range(3))]), library, tmp_path / "b")
    one, other = read_tensors(adapted), read_tensors(baked)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_any_number_of_threads_gives_the_same_bytes(library: Library, tmp_path: Path):
    text = recipe(METHODS["ties"], ["local:d/base", "local:d/base+local:d/lora0", "local:d/base+local:d/lora1"])
    for threads in (1, 3):
        made(text, library, tmp_path / str(threads), threads=threads)
    one, three = ((tmp_path / str(count) / "out" / "model.safetensors").read_bytes() for count in (1, 3))
    assert one == three


def test_vocabularies_are_joined_with_adapted_rows(disk: Path, library: Library, tmp_path: Path):
    """The embedding with its adapter goes row by row into the result's order of tokens."""
    rng = np.random.default_rng(7)
    rows, width = read_tensors(disk / "base")["model.embed_tokens.weight"].shape
    tensors = {
        "model.embed_tokens.lora_embedding_A": rng.normal(0, 0.1, (4, rows)).astype(np.float32),
        "model.embed_tokens.lora_embedding_B": rng.normal(0, 0.1, (width, 4)).astype(np.float32),
    }
    write_adapter(disk / "tokens", tensors)
    text = (
        "merge_method: linear\nmodels:\n- {model: local:d/base+local:d/tokens, parameters: {weight: 1}}\n"
        "tokenizer: {source: base, tokens: {a: {source: {kind: model_token, model: local:d/base+local:d/tokens, "
        "token: b}, force: true}}}\ndtype: float32\n"
    )
    got = read_tensors(made(text, library, tmp_path))["model.embed_tokens.weight"]
    own = read_tensors(disk / "base")["model.embed_tokens.weight"].astype(np.float64)
    down, up = (one.astype(np.float64) for one in tensors.values())
    wanted = own + 2 * (up @ down).T
    words = json.loads((disk / "base" / "tokenizer.json").read_text())["model"]["vocab"]
    wanted[words["a"]] = wanted[words["b"]]
    np.testing.assert_allclose(got[: len(wanted)], wanted, rtol=0, atol=3e-7 * np.abs(wanted).max())


def test_an_adapter_that_added_tokens_brings_its_tokenizer(disk: Path, library: Library, tmp_path: Path):
    grown = make_tiny(tmp_path / "grown", seed=5, base=disk / "base")
    tokenizer = Tokenizer.from_file(str(grown / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<tool>", special=True, normalized=False)])
    rng = np.random.default_rng(3)
    rows = {name: rng.normal(0, 0.02, (352, 32)).astype(np.float32) for name in ("model.embed_tokens", "lm_head")}
    folder = write_adapter(disk / "chatty", {f"{name}.weight": one for name, one in rows.items()})
    tokenizer.save(str(folder / "tokenizer.json"))
    text = "merge_method: passthrough\nmodels: [{model: local:d/base+local:d/chatty}]\n"
    out = made(text, library, tmp_path)
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert json.loads((out / "config.json").read_text())["vocab_size"] == 352
    np.testing.assert_array_equal(read_tensors(out)["lm_head.weight"], rows["lm_head"])
    union = f"merge_method: linear\nmodels:\n- model: local:d/base\n  parameters: {{weight: 1}}\n- model: {REF}\n"
    union += "  parameters: {weight: 1}\ntokenizer: {source: union}\ndtype: float32\n"
    joined = made(union, library, tmp_path / "union")
    words = Tokenizer.from_file(str(joined / "tokenizer.json")).get_vocab()
    ids = tokenizer.get_vocab()
    got = read_tensors(joined)["model.embed_tokens.weight"]
    np.testing.assert_array_equal(got[words["<tool>"]], rows["model.embed_tokens"][ids["<tool>"]])


def test_an_adapter_of_another_model_is_refused_before_anything_is_read(disk: Path, library: Library):
    make_tiny(disk / "wide", seed=3, layers=2, hidden=48)
    looked = preflight("merge_method: passthrough\nmodels: [{model: local:d/wide+local:d/lora0}]\n", library)
    assert looked.plan is None
    assert {one.code for one in looked.findings if one.level == "error"} == {"adapter-shape"}
    assert "is 32 × 96, but" in looked.findings[0].text and "3 more" in looked.findings[0].text


def test_a_pickled_adapter_is_refused(disk: Path, library: Library):
    (disk / "pickled").mkdir()
    (disk / "pickled" / "adapter_config.json").write_text((disk / "lora0" / "adapter_config.json").read_text())
    (disk / "pickled" / "adapter_model.bin").write_bytes(b"PK\x03\x04" + b"\0" * 60)
    looked = preflight("merge_method: passthrough\nmodels: [{model: local:d/base+local:d/pickled}]\n", library)
    assert [one.code for one in looked.findings] == ["pickle-weights"]


def test_a_model_is_no_adapter(library: Library):
    looked = preflight("merge_method: passthrough\nmodels: [{model: local:d/base+local:d/other}]\n", library)
    assert [one.code for one in looked.findings] == ["no-adapter"]


def test_adapters_are_among_the_local_models(library: Library):
    assert {"local:d/base", "local:d/lora0"} <= set(library.roots.models())


def test_from_the_hub_both_are_fetched_once_and_named_by_commit(disk: Path, tmp_path: Path):
    with StandInHub(tmp_path / "hub") as hub:
        commits = {
            name: hub.add(f"org/{name}", {path.name: path.read_bytes() for path in (disk / name).iterdir()})
            for name in ("base", "lora0", "lora1")
        }
        library = Library(HubClient(hub.endpoint, tmp_path / "cache"), LocalRoots({}))
        text = recipe(METHODS["task_arithmetic"], ["org/base", "org/base+org/lora0", "org/base+org/lora1"])
        looked = preflight(text, library)
        assert looked.estimate is not None
        sizes = [(disk / name).glob("*.safetensors") for name in commits]
        weights = sum(path.stat().st_size for paths in sizes for path in paths)
        tokenizer = sum(path.stat().st_size for path in (disk / "base").glob("*.json") if path.name != "config.json")
        assert weights < looked.estimate.download_bytes <= weights + tokenizer
        hub.forget()
        out = made(text, library, tmp_path)
        library.close()
        fetched = [entry.url for entry in hub.requests("org/base/resolve") if entry.url.endswith("/model.safetensors")]
        assert len(fetched) == 1
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.about["parents"][1:] == [
        {"ref": f"org/base@{commits['base']}+org/lora0@{commits['lora0']}", "commit": commits["base"]},
        {"ref": f"org/base@{commits['base']}+org/lora1@{commits['lora1']}", "commit": commits["base"]},
        {"ref": f"org/lora0@{commits['lora0']}", "commit": commits["lora0"]},
        {"ref": f"org/lora1@{commits['lora1']}", "commit": commits["lora1"]},
    ]
    card = (out / "README.md").read_text()
    assert all(f"- org/{name}\n" in card for name in commits) and f"`{commits['lora1']}`" in card
    local = Library(None, LocalRoots({"d": disk}))
    same = made(text.replace("org/", "local:d/"), local, tmp_path / "local")
    local.close()
    for name, values in read_tensors(same).items():
        np.testing.assert_array_equal(values, read_tensors(out)[name])


def test_an_adapter_that_cannot_be_read_stops_the_merge(library: Library, disk: Path, tmp_path: Path):
    lora(disk / "ranked", 5, r=8)
    with pytest.raises(Refused, match="has rank 4"):
        made("merge_method: passthrough\nmodels: [{model: local:d/base+local:d/ranked}]\n", library, tmp_path)


@pytest.mark.real
def test_the_real_specialist_is_its_adapter_on_the_base(tmp_path: Path):
    """Held against the model baked without this engine; both round the same sum once to bfloat16."""
    real = prepare()
    library = Library(None, LocalRoots({"m": real.base.parent, "a": ADAPTERS}))
    text = "merge_method: passthrough\nmodels: [{model: local:m/base+local:a/python}]\n"
    got, wanted = read_tensors(made(text, library, tmp_path)), read_tensors(real.python)
    library.close()
    assert got.keys() == wanted.keys()
    unlike = 0
    for name, values in got.items():
        gap = np.abs(values - wanted[name])
        assert (gap <= np.abs(wanted[name]) * 2**-7 + 1e-30).all(), name
        unlike += int(np.count_nonzero(gap))
    assert unlike < 2e-4 * sum(one.size for one in got.values())


def test_streamed_from_the_hub_the_bytes_are_the_same(disk: Path, tmp_path: Path):
    """DoRA reads each matrix twice, and factors in pieces: all of it from what was announced."""
    tensors: dict[str, np.ndarray] = {}
    for name in NAMES:
        outputs, inputs = MODULES[name.split(".", 3)[3]]
        magnitude = {f"{name}.lora_magnitude_vector": np.linspace(0.5, 2, outputs, dtype=np.float32)}
        tensors |= factors(name, outputs, inputs, seed=9) | magnitude
    write_adapter(disk / "dora", tensors, use_dora=True)
    text = recipe(METHODS["ties"], ["org/base", "org/base+org/dora", "org/base+org/lora1"])
    with StandInHub(tmp_path / "hub") as hub:
        for name in ("base", "dora", "lora1"):
            hub.add(f"org/{name}", {path.name: path.read_bytes() for path in (disk / name).iterdir()})
        library = Library(HubClient(hub.endpoint, tmp_path / "cache"), LocalRoots({}))
        streamed = made(text, library, tmp_path / "streamed", stream=True)
        assert not list((tmp_path / "cache").rglob("*.safetensors"))
        library.close()
    local = Library(None, LocalRoots({"d": disk}))
    wanted = read_tensors(made(text.replace("org/", "local:d/"), local, tmp_path / "local"))
    local.close()
    got = read_tensors(streamed)
    for name, values in wanted.items():
        np.testing.assert_array_equal(got[name], values)
