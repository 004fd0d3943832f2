"""Planned results of real families: written byte by byte as the plan says, transformers loads them whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers

from app.planning.layers import read_structure
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from tests.planning.models import folder_facts, recipe
from tests.support.tiny_models import FAMILIES, make_family

STACKABLE = [name for name in FAMILIES if name != "t5"]
WHOLE = "merge_method: passthrough\nmodels: [{model: o/m}]\n"
LAYERS = (0, 1, 1, 2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make_family(name, tmp_path_factory.mktemp(name), seed=1) for name in FAMILIES}


def plan_of(text: str, folder: Path, shard_bytes: int = 5_000_000_000) -> Plan:
    return make_plan(recipe(text), {parse_reference("o/m"): folder_facts(folder, "o/m")}, shard_bytes=shard_bytes)


def write(plan: Plan, folder: Path, out: Path) -> Path:
    """Every step here is a copy, so the result is the parent's bytes in new places."""
    for shard in plan.shards:
        content = bytearray(shard.header) + bytes(shard.size - len(shard.header))
        for step, offset in zip(shard.steps, shard.offsets, strict=True):
            assert step.method == "copy"
            tensor = step.inputs[0].tensor
            raw = (folder / tensor.file).read_bytes()[tensor.begin : tensor.end]
            content[offset : offset + len(raw)] = raw
        (out / shard.file).write_bytes(content)
    for carry in plan.carries:
        (out / carry.file).write_bytes((folder / carry.file).read_bytes())
    for name, text in plan.texts.items():
        (out / name).write_text(text)
    return out


def load(folder: Path):
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_a_planned_copy_is_the_same_model(name: str, folders: dict[str, Path], tmp_path: Path):
    plan = plan_of(WHOLE, folders[name], shard_bytes=40_000)
    assert len(plan.shards) > 1
    copied, original = load(write(plan, folders[name], tmp_path)), load(folders[name])
    mine, theirs = copied.state_dict(), original.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(mine[key].equal(theirs[key]) for key in mine)


@pytest.mark.parametrize("name", STACKABLE)
def test_a_planned_stack_loads_with_every_layer(name: str, folders: dict[str, Path], tmp_path: Path):
    slices = "".join(f"- sources: [{{model: o/m, layer_range: [{layer}, {layer + 1}]}}]\n" for layer in LAYERS)
    plan = plan_of(f"merge_method: passthrough\nslices:\n{slices}", folders[name])
    assert not [finding for finding in plan.findings if finding.level != "info"]
    model, original = load(write(plan, folders[name], tmp_path)), load(folders[name])
    stack = read_structure(plan.parents[0]).main
    mine, theirs = model.state_dict(), original.state_dict()
    for new, old in enumerate(LAYERS):
        keys = [key for key in theirs if key.startswith(f"{stack}.{old}.")]
        assert keys
        for key in keys:
            assert mine[key.replace(f"{stack}.{old}.", f"{stack}.{new}.", 1)].equal(theirs[key])
    config = json.loads((folders[name] / "config.json").read_text())
    if "layer_types" in config:
        assert model.config.layer_types == [config["layer_types"][old] for old in LAYERS]


def test_slices_of_an_encoder_decoder_are_refused(folders: dict[str, Path]):
    with pytest.raises(Refused) as caught:
        plan_of("merge_method: passthrough\nslices: [{sources: [{model: o/m, layer_range: [0, 1]}]}]\n", folders["t5"])
    assert caught.value.findings[0].code == "several-stacks"
