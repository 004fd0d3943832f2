"""Hostile and broken shard indexes."""

from __future__ import annotations

import json
import time

import pytest

from app.planning.facts import TensorFacts
from app.planning.index import MAX_INDEX, check_index, parse_index
from app.recipe.findings import Refused

LISTED = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "config.json", "a.bin")


def index(**weight_map) -> bytes:
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()


OUTSIDE = [
    "../../x.safetensors",
    "/etc/passwd",
    "/x.safetensors",
    "C:\\x.safetensors",
    "C:x.safetensors",
    "sub/x.safetensors",
    "sub\\x.safetensors",
    "x.safetensors\x00",
    "x\x00.safetensors",
    "x.safetensors\n",
    "\nx.safetensors",
    "x y.safetensors",
    "~/x.safetensors",
    "%2e%2e%2fx.safetensors",
    "x.safetensors?download=1",
    "https://example.org/x.safetensors",
    "ｘ.safetensors",
    "\ud800.safetensors",
    ".safetensors",
    "config.json",
    "x.safetensors.exe",
    "",
]


@pytest.mark.parametrize("shard", OUTSIDE)
def test_a_shard_is_a_plain_name_even_when_listed(shard: str):
    with pytest.raises(Refused) as caught:
        parse_index(index(w=shard), [shard, *LISTED])
    (finding,) = caught.value.findings
    assert finding.code == "bad-index"
    assert finding.text.isprintable()


@pytest.mark.parametrize("shard", ["pytorch_model-00001.bin", "a.bin", "x.PT", "../x.pth", "model.ckpt"])
def test_pickle_shards_are_told_as_such(shard: str):
    with pytest.raises(Refused) as caught:
        parse_index(index(w=shard), [shard])
    assert caught.value.findings[0].code == "pickle-weights"


def test_missing_shard_is_named():
    content = index(a=LISTED[0], b="model-00003-of-00003.safetensors")
    with pytest.raises(Refused, match="model-00003-of-00003") as caught:
        parse_index(content, LISTED)
    assert caught.value.findings[0].code == "missing-shard"


BROKEN = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"weight_map": {"\xff": "a.safetensors"}}',
    "an array": b"[]",
    "no map": b"{}",
    "empty map": b'{"weight_map": {}}',
    "map is a list": b'{"weight_map": ["a.safetensors"]}',
    "shard is a number": b'{"weight_map": {"w": 7}}',
    "shard is null": b'{"weight_map": {"w": null}}',
    "shard is a list": b'{"weight_map": {"w": ["model-00001-of-00002.safetensors"]}}',
    "tensor twice": b'{"weight_map": {"w": "model-00001-of-00002.safetensors", "w": "b.safetensors"}}',
    "two maps": b'{"weight_map": {"w": "model-00001-of-00002.safetensors"}, "weight_map": {"w": "../x.safetensors"}}',
    "NaN": b'{"metadata": {"total_size": NaN}, "weight_map": {"w": "model-00001-of-00002.safetensors"}}',
    "huge number": b'{"metadata": {"total_size": ' + b"9" * 5000 + b'}, "weight_map": {}}',
    "deep": b'{"metadata":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b'{"weight_map":' * 100_000 + b"1" + b"}" * 100_000,
    "too long": b" " * (MAX_INDEX + 1),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_index_is_refused_at_once(content: bytes):
    began = time.process_time()
    with pytest.raises(Refused) as caught:
        parse_index(content, LISTED)
    assert time.process_time() - began < 1
    assert caught.value.findings[0].code == "bad-index"
    assert len(caught.value.findings[0].text) < 400


def test_good_index():
    assert parse_index(index(a=LISTED[0], b=LISTED[1]), LISTED) == {"a": LISTED[0], "b": LISTED[1]}
    assert parse_index(b'{"weight_map": {"w": "a-b_c.1.safetensors"}}', {"a-b_c.1.safetensors"})


def test_tensor_must_be_in_its_shard():
    weight_map = {"a": LISTED[0], "b": LISTED[1]}
    a, b = TensorFacts("a", "F32", (1,), LISTED[0], 8, 12), TensorFacts("b", "F32", (1,), LISTED[1], 8, 12)
    check_index(weight_map, {"a": a, "b": b})
    with pytest.raises(Refused, match="b is not in the file"):
        check_index(weight_map, {"a": a})
    with pytest.raises(Refused, match="and 1 more tensors are not") as caught:
        check_index({"a": LISTED[1], "b": LISTED[0]}, {"a": a, "b": b})
    assert caught.value.findings[0].code == "tensor-not-in-shard"
    assert caught.value.findings[0].where == LISTED[1]
