"""Weights without a config, from the recipe to the files: every method against NumPy in fp64, the job, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from app.library.facts import Library
from app.recipe.catalogue import METHODS, Method
from app.storage.local import read_manifest
from tests.engine import oracle
from tests.engine.plans import METHODS_WITH_BASE
from tests.support.checkpoints import read_tensors
from tests.support.hub import StandInHub
from tests.support.raw_weights import Tensors, unet, vocoder, write
from tests.support.tiny_models import make_tiny
from tests.worker.far import Bench
from tests.worker.quiet import local, merged, plan_of
from tests.worker.test_cli import weightloom

BASE = unet(1)
PARENTS = {"base": BASE, "one": unet(2, BASE), "two": unet(3, BASE), "three": unet(4, BASE)}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Diffusion models as files of one folder, audio models as folders of one file."""
    folder = tmp_path_factory.mktemp("raw")
    for name, tensors in PARENTS.items():
        write(folder / "diffusion" / f"{name}.safetensors", tensors)
    for seed, name in enumerate(("low", "high")):
        write(folder / name / "voice.safetensors", vocoder(seed))
    return folder


@pytest.fixture(scope="module")
def library(raw: Path) -> Library:
    return local(raw)


def settings(method: Method) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a recipe sets for the tensor, and for each parent; nothing is left to chance."""
    shared: dict[str, Any] = {}
    each: dict[str, Any] = {}
    for one in method.parameters:
        wanted = {"weight": 0.5, "t": 0.3, "density": 1.0 if method.random else 0.5, "scale": 2.0}.get(one.name)
        if one.used and wanted is not None:
            (shared if one.scope == "tensor" else each)[one.name] = wanted
    return shared, each


def written(method: Method, names: list[str], shared: dict[str, Any], each: dict[str, Any]) -> str:
    models = [{"model": f"local:models/diffusion/{name}.safetensors"} for name in names]
    wanted: dict[str, Any] = {"merge_method": method.name, "models": models, "dtype": "float32"}
    if method.name in METHODS_WITH_BASE:
        wanted["base_model"] = "local:models/diffusion/base.safetensors"
    return json.dumps(wanted | {"parameters": shared | each})


def of_two(method: str, one: str, other: str, **parameters: float) -> str:
    """A recipe of two models of the folder."""
    models = [{"model": f"local:models/{name}"} for name in (one, other)]
    return json.dumps({"merge_method": method, "models": models, "parameters": parameters})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_its_formula(name: str, raw: Path, library: Library, tmp_path: Path) -> None:
    method = METHODS[name]
    based = name in METHODS_WITH_BASE
    count = min(method.max_parents or 3, 3) - (method.base_counts and based)
    names = list(PARENTS)[1 : 1 + count]
    shared, each = settings(method)
    plan = merged(written(method, names, shared, each), library, tmp_path)
    assert [one.code for one in plan.findings if one.level != "info"] == []
    (file,) = (tmp_path / "out").glob("*.safetensors")
    assert file.name == f"{'base' if based and not method.receives else names[0]}.safetensors"
    result = read_tensors(tmp_path / "out")
    assert result.keys() == BASE.keys()
    for tensor, found in result.items():
        inputs = [PARENTS[one][tensor] for one in names]
        expected = oracle.merge(name, BASE[tensor] if based else None, inputs, shared, [each] * count)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5, err_msg=tensor)


def test_numbers_that_are_no_weights_are_copied(raw: Path, tmp_path: Path) -> None:
    """A counter, a table of steps, a switch: equal in both."""
    fixed = {"steps": np.arange(4), "count": np.asarray(7), "on": np.asarray([True, False])}
    for seed in (1, 2):
        (tmp_path / f"m{seed}").mkdir()
        save_file({**vocoder(seed), **fixed}, tmp_path / f"m{seed}" / "net.safetensors")
    recipe = of_two("linear", "m1", "m2", weight=1)
    plan = merged(recipe, local(tmp_path), tmp_path)
    result = load_file(tmp_path / "out" / "net.safetensors")
    for name, values in fixed.items():
        np.testing.assert_array_equal(result[name], values)
        assert result[name].dtype == values.dtype
    expected = (vocoder(1)["conv_pre.weight"].astype(np.float64) + vocoder(2)["conv_pre.weight"]) / 2
    np.testing.assert_allclose(result["conv_pre.weight"], expected, rtol=1e-6)
    assert "not-merged" in {one.code for one in plan.findings}


def test_several_files_stay_several(tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path / f"m{seed}" / "unet.safetensors", unet(seed), "bfloat16")
        write(tmp_path / f"m{seed}" / "voice.safetensors", vocoder(seed), "float16")
    recipe = of_two("linear", "m1", "m2", weight=1)
    merged(recipe, local(tmp_path), tmp_path)
    found = {path.name: set(load_names(path)) for path in (tmp_path / "out").glob("*.safetensors")}
    assert found == {"unet.safetensors": set(unet(1)), "voice.safetensors": set(vocoder(1))}
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert {file.name for file in manifest.files} == {*found, "README.md", "mergekit_config.yml"}


def load_names(path: Path) -> list[str]:
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert "merge_method: linear" in header.pop("__metadata__")["weightloom"]
    return list(header)


def test_a_state_dict_beside_a_model_gets_its_config(tmp_path: Path) -> None:
    model = make_tiny(tmp_path / "model", seed=1, layers=2)
    tuned = {name: values + np.float32(0.01) for name, values in read_tensors(model).items()}
    write(tmp_path / "tuned.safetensors", tuned, "bfloat16")
    recipe = """
merge_method: linear
models:
- {model: 'local:models/tuned.safetensors', parameters: {weight: 0.5}}
- {model: 'local:models/model', parameters: {weight: 0.5}}
dtype: float32
"""
    plan = merged(recipe, local(tmp_path), tmp_path)
    assert "config-of-another" in {one.code for one in plan.findings}
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    one, other = read_tensors(model), load_bf16(tmp_path / "tuned.safetensors")
    for name, values in read_tensors(tmp_path / "out").items():
        np.testing.assert_allclose(values, (one[name].astype(np.float64) + other[name]) / 2, rtol=1e-6, atol=1e-8)


def load_bf16(path: Path) -> Tensors:
    folder = path.parent / "alone"
    folder.mkdir()
    (folder / path.name).symlink_to(path)
    return read_tensors(folder)


def test_a_result_is_a_parent_again(raw: Path, tmp_path: Path) -> None:
    merged(of_two("linear", "low", "high", weight=1), local(raw), tmp_path)
    plan = plan_of(local(tmp_path), "{merge_method: passthrough, models: [{model: 'local:models/out'}]}")
    assert {step.name for step in plan.steps()} == set(vocoder(1))
    assert [shard.file for shard in plan.shards] == ["voice.safetensors"]


def test_from_the_hub_stored_or_in_parts(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    with StandInHub(tmp_path / "hub") as hub:
        for seed, name in ((1, "day"), (2, "night")):
            for file, tensors in (("unet", unet(seed)), ("voice", vocoder(seed))):
                write(hub.repos.root / "org" / name / f"{file}.safetensors", tensors)
            (hub.repos.root / "org" / name / "old.ckpt").write_bytes(b"never fetched")
        bench = Bench(hub, tmp_path)
        recipe = of_two("linear", "day", "night", weight=1).replace("local:models", "org")
        streamed = bench.merge(recipe, stream=True, name="streamed")
        assert bench.stored() == []
        stored = bench.merge(recipe, stream=False, name="stored")
        assert stored == streamed
        assert not hub.requests("old.ckpt")
        bench.library.close()
    for file, first, second in (("unet", unet(1), unet(2)), ("voice", vocoder(1), vocoder(2))):
        for name, found in load_file(tmp_path / "stored" / f"{file}.safetensors").items():
            np.testing.assert_allclose(found, (first[name].astype(np.float64) + second[name]) / 2, rtol=1e-6, atol=1e-7)


def test_on_the_command_line(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(raw / "diffusion")
    (tmp_path / "recipe.yml").write_text(
        "merge_method: linear\nparameters: {weight: [0.2, 1]}\nmodels:\n"
        "- model: ./a/one.safetensors\n- model: a/two.safetensors\n"
    )
    looked = weightloom(tmp_path, "check", "recipe.yml")
    assert looked.returncode == 0, looked.stdout
    assert "have no config.json" in looked.stdout
    done = weightloom(tmp_path, "merge", "recipe.yml", "out")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "one.safetensors", "MANIFEST.json", "README.md", "mergekit_config.yml",
    }  # fmt: skip
    (tmp_path / "pickled.ckpt").write_bytes(b"\x80\x02")
    (tmp_path / "recipe.yml").write_text("merge_method: passthrough\nmodels: [{model: ./pickled.ckpt}]\n")
    refused = weightloom(tmp_path, "merge", "recipe.yml", "other")
    assert refused.returncode == 1
    assert "Convert it to safetensors" in refused.stderr
