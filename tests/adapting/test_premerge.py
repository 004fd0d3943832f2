"""What is told of adapters before they are merged, from settings and headers alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapting.methods import METHODS
from app.adapting.wanted import read_merge
from app.library.facts import Library
from app.preadapt import Premerge, premerge
from app.recipe.findings import Refused
from tests.support.adapters import factors, write_adapter
from worker.lora.loaded import load_adapter
from worker.lora.merging import merge_adapters

SIZES = {"a.q": (12, 20), "a.down": (20, 12)}


def lora(folder: Path, rank: int = 3, seed: int = 0, only: str = "", **settings: Any) -> Path:
    tensors: dict[str, np.ndarray] = {}
    for name, (outputs, inputs) in SIZES.items():
        if not only or name == only:
            tensors |= factors(name, outputs, inputs, rank, seed)
    return write_adapter(folder, tensors, **{"r": rank, "lora_alpha": rank, **settings})


def look(library: Library, *names: str, **how: Any) -> Premerge:
    return premerge(read_merge([f"local:d/{name}" for name in names], **how), library)


def codes(looked: Premerge) -> set[str]:
    return {one.code for one in looked.findings}


def refused(library: Library, *names: str, **how: Any) -> list[str]:
    with pytest.raises(Refused) as caught:
        look(library, *names, **how)
    return [one.code for one in caught.value.findings]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rank", [None, 2, 100])
def test_the_outline_is_what_the_merge_gives(method: str, rank: int | None, library: Library, tmp_path: Path) -> None:
    """Ranks to the number, bytes nearly."""
    if rank is not None and METHODS[method].rank != "chosen":
        return
    lora(tmp_path / "one", seed=1)
    lora(tmp_path / "two", seed=2, only="a.q")
    looked = look(library, "one", "two", method=method, rank=rank)
    loaded = [load_adapter(facts, tmp_path / name) for facts, name in zip(looked.facts, ("one", "two"), strict=True)]
    made = merge_adapters(loaded, looked.wanted.how, looked.wanted.dtype)
    assert looked.outline.ranks == made.ranks
    assert looked.outline.output_bytes == pytest.approx(len(made.files["adapter_model.safetensors"]), rel=0.2)
    assert looked.outline.download_bytes == 0
    assert looked.outline.memory_bytes > looked.outline.output_bytes


def test_what_is_worth_knowing(library: Library, tmp_path: Path) -> None:
    lora(tmp_path / "one", base_model_name_or_path="o/base", use_rslora=True)
    lora(tmp_path / "two", base_model_name_or_path="o/other", lora_alpha=12, strange_setting=1)
    lora(tmp_path / "few", only="a.q", base_model_name_or_path="o/base")
    looked = look(library, "one", "two", "few", method="cat")
    told = {one.code: one.text for one in looked.findings}
    assert "made for different models: o/base and o/other" in told["adapter-of-another-base"]
    assert "strange_setting" in told["adapter-settings"]
    assert "local:d/few leaves 1 module alone that others change (down)" in told["modules-differ"]
    assert "local:d/one 1.73 (rsLoRA); local:d/two 4; local:d/few 1" in told["scales-differ"]
    assert "rank 9, where the largest adapter has 3" in told["rank-grows"]
    assert looked.base == "o/base"


def test_calm_adapters_say_little(library: Library, tmp_path: Path) -> None:
    for name in ("one", "two"):
        lora(tmp_path / name, base_model_name_or_path="o/base")
    assert codes(look(library, "one", "two", rank=3)) == {"same-lineage"}
    assert codes(look(library, "one", "two", rank=50)) == {"same-lineage", "rank-not-needed"}
    assert codes(look(library, "one", "two", method="ties", normalize=False, rank=3)) == {"same-lineage", "not-divided"}


def test_what_cannot_be_merged(library: Library, tmp_path: Path) -> None:
    lora(tmp_path / "one")
    lora(tmp_path / "thick", rank=5)
    lora(tmp_path / "says", rank=5, r=4)
    lora(tmp_path / "turned", fan_in_fan_out=True)
    write_adapter(tmp_path / "wide", factors("a.q", 12, 24, 3), r=3)
    write_adapter(tmp_path / "none", {}, r=3)
    write_adapter(tmp_path / "half", {"a.q.lora_A.weight": np.ones((3, 20), np.float32)}, r=3)
    write_adapter(tmp_path / "dora", factors("a.q", 12, 20, 3) | {"a.q.lora_magnitude_vector": np.ones(12)}, r=3)
    lora(tmp_path / "ia3", peft_type="IA3")
    assert refused(library, "one", "thick", method="factor_linear") == ["adapter-rank"]
    assert refused(library, "says") == ["adapter-rank"] * 2
    assert refused(library, "one", "turned") == ["adapter-shape"]
    assert refused(library, "one", "wide") == ["adapter-shape"]
    assert refused(library, "none") == ["adapter-empty"]
    assert refused(library, "half") == ["adapter-shape"]
    assert refused(library, "one", "dora", "ia3") == ["adapter-unsupported"] * 2
    assert refused(library, "one", "gone") == ["model-not-found"]
    assert refused(library, "one", "one", method="cat", rank=3) == ["rank-not-free"]
    assert refused(library, "one", "one", weights=[1, -1], method="linear") == ["weights-add-up-to-nothing"]


def test_parameters_of_adapters_are_merged_only_where_they_can_be_told_apart(library: Library, tmp_path: Path) -> None:
    """Two products of rank 3 in each of the factors: both experts of a mixture at once."""
    fused, both = factors("mlp.experts", 12, 20, 6), ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    beside = fused | factors("a.q", 12, 20, 3)
    for name, more in (("one", {}), ("two", {}), ("patterned", {"rank_pattern": {"a.q": 3}})):
        write_adapter(tmp_path / name, beside, r=3, target_parameters=both, **more)
    write_adapter(tmp_path / "turned", beside, r=3, target_parameters=both[::-1])
    write_adapter(tmp_path / "odd", beside, r=4, rank_pattern={}, target_parameters=both)
    looked = look(library, "one", "two", method="cat")
    assert looked.outline.ranks == {"mlp.experts": 6, "a.q": 6}
    assert looked.sketches[0].modules["mlp.experts"].experts == 2
    assert refused(library, "one", "patterned") == ["adapter-unsupported"]
    assert refused(library, "one", "turned") == ["adapter-unsupported"]
    assert refused(library, "odd") == ["adapter-rank"] * 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"adapters": []}, "wrong-number-of-adapters"),
        ({"adapters": ["a/b"] * 27}, "wrong-number-of-adapters"),
        ({"method": "tise"}, "unknown-method"),
        ({"weights": [1.0, 2.0]}, "wrong-number-of-weights"),
        ({"weights": [float("nan")]}, "not-a-number"),
        ({"factor": float("inf")}, "not-a-number"),
        ({"density": 0}, "bad-density"),
        ({"density": 1.5}, "bad-density"),
        ({"rank": 0}, "bad-rank"),
        ({"seed": -1}, "bad-seed"),
        ({"dtype": "int8"}, "bad-dtype"),
        ({"adapters": ["a/b+a/c"]}, "not-an-adapter"),
        ({"adapters": ["https://x/y"]}, "bad-reference"),
    ],
)
def test_what_cannot_be_asked_for(words: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        read_merge(**{"adapters": ["a/b"], **words})
    assert [one.code for one in caught.value.findings] == [code]


def test_what_is_wanted_survives_the_jobs_row() -> None:
    wanted = read_merge(
        ["a/b@main", "local:d/x"], weights=[0.5, -1], method="dare_ties", rank=4, seed=7, dtype="float16"
    )
    params = json.loads(json.dumps(wanted.as_params()))
    assert type(wanted).of_params(params) == wanted
    assert wanted.how.normalize


CONFIG = {"peft_type": "LORA", "r": 3, "lora_alpha": 3, "target_modules": ["q"]}
SHAPES = {"a.q.lora_A.weight": [3, 20], "a.q.lora_B.weight": [12, 3]}


def raw(folder: Path, shapes: dict[str, list[int]], config: str, dtype: str = "F32", cut: int = 0) -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * 4
        header["base_model.model." + name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    told = json.dumps(header).encode()
    folder.mkdir()
    content = struct.pack("<Q", len(told)) + told + bytes(end)
    (folder / "adapter_model.safetensors").write_bytes(content[: len(content) - cut])
    (folder / "adapter_config.json").write_text(config)


@pytest.mark.parametrize(
    ("shapes", "config", "more"),
    [
        (SHAPES, "{", {}),
        (SHAPES, "[]", {}),
        (SHAPES, "{}", {}),
        (SHAPES, json.dumps(CONFIG | {"r": 10**9}), {}),
        (SHAPES, json.dumps(CONFIG | {"lora_alpha": "1e309"}), {}),
        (SHAPES, '{"peft_type": "LORA", "r": 3, "lora_alpha": 1e400}', {}),
        (SHAPES, json.dumps(CONFIG | {"rank_pattern": {"(a+)+$": 3}}), {}),
        (SHAPES, json.dumps(CONFIG) + " " * 1_100_000, {}),
        (SHAPES, json.dumps(CONFIG | {"layer_replication": [[0, 4]]}), {}),
        (SHAPES, json.dumps(CONFIG), {"dtype": "I32"}),
        (SHAPES, json.dumps(CONFIG), {"cut": 4}),
        ({"a.q.lora_A.weight": [0, 20], "a.q.lora_B.weight": [12, 0]}, json.dumps(CONFIG), {}),
        ({"a.q.lora_A.weight": [3, 0], "a.q.lora_B.weight": [12, 3]}, json.dumps(CONFIG), {}),
        ({"a.q.lora_A.weight": [60], "a.q.lora_B.weight": [36]}, json.dumps(CONFIG), {}),
        ({"a.q.lora_A.weight": [3, 20], "a.q.lora_B.weight": [12, 3, 2]}, json.dumps(CONFIG), {}),
        ({"a.q.lora_A.weight": [3, 20], "a.q.lora_B.weight": [12, 3], "a.q.ia3_l": [3]}, json.dumps(CONFIG), {}),
    ],
)
def test_hostile_adapters_are_refused_in_words(
    shapes: dict[str, list[int]], config: str, more: dict[str, Any], library: Library, tmp_path: Path
) -> None:
    raw(tmp_path / "bad", shapes, config, **more)
    with pytest.raises(Refused) as caught:
        look(library, "bad")
    for one in caught.value.findings:
        assert one.level == "error"
        assert one.text.endswith(".")
        assert one.fix.endswith(".")
        assert "bad" in one.where
        assert len(one.text) < 300
