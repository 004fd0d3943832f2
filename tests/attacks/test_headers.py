"""Hostile and broken safetensors headers: each refused at once, naming the file, never accepted where the library
refuses."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError, safe_open

from app.planning.header import MAX_HEADER, header_length, parse_header
from app.recipe.findings import Refused


def lay_out(header: bytes | str | dict, data: int = 0) -> bytes:
    """A file with this header and so many zero bytes of data."""
    text = json.dumps(header) if isinstance(header, dict) else header
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(data)


def one(dtype="F32", shape=(2, 3), offsets=(0, 24), **more) -> dict:
    return {"w": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}}


def entry(text: str) -> str:
    return '{"w":' + text + "}"


GOOD = '{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}'

BROKEN = {
    "empty file": b"",
    "seven bytes": b"1234567",
    "length alone": struct.pack("<Q", 0),
    "length of nothing": struct.pack("<Q", 0) + b"{}",
    "length of one": struct.pack("<Q", 1) + b"{",
    "length past the end": struct.pack("<Q", 50) + b"{}",
    "length of 2^64-1": b"\xff" * 8 + b"{}",
    "length of 2^63": struct.pack("<Q", 2**63) + b"{}",
    "not UTF-8": lay_out(b'{"\xff\xfe":{}}'),
    "UTF-8 surrogate": lay_out(b'{"\xed\xa0\x80":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
    "escaped lone surrogate": lay_out(r'{"\ud800":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
    "lone surrogate in metadata": lay_out(r'{"__metadata__":{"a":"\udc00"}}'),
    "not JSON": lay_out("{hello}"),
    "cut JSON": lay_out('{"w":{"dtype":"F32"'),
    "JSON twice": lay_out("{}{}"),
    "an array": lay_out("[]"),
    "a number": lay_out("42"),
    "null": lay_out("null"),
    "spaces first": lay_out("  {}"),
    "byte order mark": lay_out(b"\xef\xbb\xbf{}"),
    "control character": lay_out(b'{"a\x01":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
    "duplicate tensor": lay_out(f'{{"w":{GOOD},"w":{GOOD}}}', 24),
    "duplicate key in a tensor": lay_out(
        entry('{"dtype":"F32","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}'), 24
    ),
    "duplicate metadata": lay_out('{"__metadata__":{"a":"1","a":"2"}}'),
    "two metadata": lay_out('{"__metadata__":{},"__metadata__":{}}'),
    "NaN": lay_out(entry('{"dtype":"F32","shape":[NaN],"data_offsets":[0,24]}'), 24),
    "Infinity": lay_out(entry('{"dtype":"F32","shape":[2,3],"data_offsets":[0,Infinity]}'), 24),
    "minus Infinity": lay_out('{"__metadata__":-Infinity}'),
    "unknown dtype": lay_out(one("F33"), 24),
    "lower-case dtype": lay_out(one("f32"), 24),
    "dtype is a number": lay_out(one(32), 24),
    "dtype is a list": lay_out(one(["F32"]), 24),
    "negative size": lay_out(one(shape=(-2, -3)), 24),
    "minus zero": lay_out(entry('{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}')),
    "fraction": lay_out(one(shape=(2.0, 3)), 24),
    "exponent": lay_out(entry('{"dtype":"F32","shape":[6e0],"data_offsets":[0,24]}'), 24),
    "true as a size": lay_out(one(shape=(True, 6)), 24),
    "text as a size": lay_out(one(shape=("2", 3)), 24),
    "shape is a number": lay_out(entry('{"dtype":"F32","shape":6,"data_offsets":[0,24]}'), 24),
    "shape missing": lay_out(entry('{"dtype":"F32","data_offsets":[0,24]}'), 24),
    "shape too large": lay_out(one(shape=(2**62, 2**62)), 24),
    "product wraps to the right size": lay_out(one("U8", (2**32, 2**32), (0, 0))),
    "overflow hidden by a zero": lay_out(one("U8", (2**62, 4, 0), (0, 0))),
    "bits overflow": lay_out(one("F64", (2**61,), (0, 0))),
    "size of 5000 digits": lay_out(entry('{"dtype":"U8","shape":[%s],"data_offsets":[0,0]}' % ("9" * 5000))),
    "a thousand dimensions": lay_out(one(shape=(1,) * 1000, offsets=(0, 4)), 4),
    "offsets reversed": lay_out(one(offsets=(24, 0)), 24),
    "three offsets": lay_out(one(offsets=(0, 24, 24)), 24),
    "one offset": lay_out(one(offsets=(0,)), 24),
    "offsets in an object": lay_out(entry('{"dtype":"F32","shape":[2,3],"data_offsets":{"0":0,"1":24}}'), 24),
    "offsets missing": lay_out(entry('{"dtype":"F32","shape":[2,3]}'), 24),
    "too few bytes": lay_out(one(offsets=(0, 20)), 20),
    "too many bytes": lay_out(one(offsets=(0, 28)), 28),
    "does not begin at 0": lay_out(one(offsets=(4, 28)), 28),
    "offsets past the end": lay_out(one(offsets=(0, 24)), 20),
    "trailing byte": lay_out(one(), 25),
    "data without tensors": lay_out("{}", 8),
    "overlap": lay_out({**one(), "v": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}, 24),
    "partial overlap": lay_out({**one(), "v": {"dtype": "F32", "shape": [6], "data_offsets": [20, 44]}}, 44),
    "gap": lay_out({**one(), "v": {"dtype": "F32", "shape": [6], "data_offsets": [32, 56]}}, 56),
    "empty tensor inside another": lay_out(
        {**one(), "v": {"dtype": "F32", "shape": [0], "data_offsets": [8, 8]}}, 24
    ),
    "tensor is null": lay_out('{"w":null}'),
    "tensor is a list": lay_out('{"w":["F32",[2,3],[0,24]]}', 24),
    "unknown key": lay_out(one(stride=[3, 1]), 24),
    "metadata is a list": lay_out('{"__metadata__":[]}'),
    "metadata of numbers": lay_out('{"__metadata__":{"a":1}}'),
    "nested metadata": lay_out('{"__metadata__":{"a":{"b":"c"}}}'),
    "deep arrays": lay_out('{"w":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep objects": lay_out('{"w":' * 50_000 + "1" + "}" * 50_000),
    "deep dtype": lay_out(entry('{"dtype":%s,"shape":[2,3],"data_offsets":[0,24]}' % ("[" * 900 + "]" * 900)), 24),
}  # fmt: skip


def read(content: bytes, file: str = "model.safetensors") -> dict:
    length = header_length(content[:8], file, len(content))
    return parse_header(content[: 8 + length], file, len(content))


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_header_is_refused_at_once_with_the_file_named(content: bytes):
    began = time.process_time()
    with pytest.raises(Refused) as caught:
        read(content)
    assert time.process_time() - began < 1
    (finding,) = caught.value.findings
    assert finding.level == "error"
    assert finding.where == "model.safetensors"
    assert "model.safetensors" in finding.text
    assert finding.fix
    assert len(finding.text) < 400
    finding.text.encode()


LIBRARY_TAKES = {
    "spaces first",
    "duplicate tensor",
    "duplicate metadata",
    "two metadata",
    "a thousand dimensions",
    "unknown key",
    "bits overflow",
    "overflow hidden by a zero",
    "tensor is a list",
}
"""Where we are stricter than the library (or than some version of it)."""


@pytest.mark.parametrize("name", sorted(set(BROKEN) - LIBRARY_TAKES))
def test_the_library_agrees(name: str, tmp_path: Path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(BROKEN[name])
    with pytest.raises((SafetensorError, OSError, ValueError)), safe_open(file, "np"):
        pass


def test_header_above_the_cap_is_refused_before_it_is_read():
    with pytest.raises(Refused, match="not accepted"):
        header_length(struct.pack("<Q", MAX_HEADER + 1), "big.safetensors", 10**12)
    assert header_length(struct.pack("<Q", MAX_HEADER), "big.safetensors", 10**12) == MAX_HEADER


def test_header_of_which_a_part_is_missing():
    content = lay_out(one(), 24)
    with pytest.raises(Refused, match="could be read"):
        parse_header(content[:20], "model.safetensors", len(content))


def test_large_header_is_read_in_reasonable_time():
    count = 60_000
    header = {
        f"model.layers.{i}.mlp.weight": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8 * i, 8 * i + 8]}
        for i in range(count)
    }
    content = lay_out(header)
    began = time.process_time()
    found = parse_header(content, "model.safetensors", len(content) + 8 * count)
    assert time.process_time() - began < 5
    assert len(found) == count


@pytest.mark.parametrize(
    ("beginning", "code"),
    [
        (b"PK\x03\x04\x00\x00\x08\x08" + b"\x00" * 40, "pickle-weights"),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46" + b"\x00" * 40, "pickle-weights"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00cposix\nsystem\n", "pickle-weights"),
        (b"GGUF\x03\x00\x00\x00" + b"\x00" * 40, "gguf-weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "lfs-pointer"),
    ],
)
def test_other_formats_are_told_by_content_whatever_the_name(beginning: bytes, code: str):
    for file in ("model.safetensors", "Model.SafeTensors"):
        with pytest.raises(Refused) as caught:
            header_length(beginning[:8], file, len(beginning))
        assert caught.value.findings[0].code == code


def test_pickle_behind_a_plausible_length():
    content = struct.pack("<Q", 0x0280) + b"\x80\x02}q\x00." + bytes(1000)
    with pytest.raises(Refused):
        read(content)


def test_a_length_that_looks_like_a_pickle_is_a_length():
    """0x0280 = 640 begins like pickle protocol 2."""
    text = json.dumps(one()).encode().ljust(0x0280)
    content = lay_out(text, 24)
    assert content[:2] == b"\x80\x02"
    assert read(content)["w"].shape == (2, 3)


def test_zero_size_and_scalar_tensors_are_fine():
    content = lay_out(
        {
            "scalar": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]},
            "empty": {"dtype": "F32", "shape": [0, 7], "data_offsets": [8, 8]},
            "empty2": {"dtype": "F32", "shape": [7, 0, 2], "data_offsets": [8, 8]},
            "last": {"dtype": "BOOL", "shape": [3], "data_offsets": [8, 11]},
        },
        11,
    )
    found = read(content)
    assert found["scalar"].elements == 1
    assert found["empty"].nbytes == found["empty2"].nbytes == 0
    assert read(lay_out("{}")) == {}
    assert read(lay_out('{"__metadata__":{}}   ')) == {}
    assert read(lay_out('{"__metadata__":{"format":"pt","é":"\\n"}}')) == {}
