"""Headers against the safetensors library: what it writes we read, what it refuses we refuse, and back."""

from __future__ import annotations

import json
import struct
import tempfile
from math import prod
from pathlib import Path

import numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from app.planning.facts import DTYPE_BYTES
from app.planning.header import header_length, parse_header, write_header
from app.recipe.findings import Refused
from tests.support.checkpoints import metadata_of

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
entries = st.dictionaries(names, st.tuples(st.sampled_from(sorted(DTYPE_BYTES)), shapes), max_size=6)
texts = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"])), max_size=3)


def library_accepts(content: bytes) -> bool:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        Path(file.name).write_bytes(content)
        try:
            with safe_open(file.name, "np"):
                return True
        except (SafetensorError, OSError, ValueError):
            return False


def we_accept(content: bytes) -> bool:
    try:
        length = header_length(content[:8], "x.safetensors", len(content))
        parse_header(content[: 8 + length], "x.safetensors", len(content))
    except Refused:
        return False
    return True


def build(tensors: dict, metadata: dict) -> bytes:
    listed = [(name, dtype, shape) for name, (dtype, shape) in tensors.items()]
    header, offsets = write_header(listed, metadata)
    end = offsets[-1] + prod(listed[-1][2]) * DTYPE_BYTES[listed[-1][1]] if listed else len(header)
    return header + bytes(end - len(header))


@given(entries, texts)
@settings(max_examples=150, deadline=None)
def test_what_we_write_the_library_and_we_read_back(tensors: dict, metadata: dict):
    content = build(tensors, metadata)
    assert library_accepts(content)
    found = parse_header(content[: 8 + header_length(content[:8], "x", len(content))], "x", len(content))
    assert {name: (one.dtype, one.shape) for name, one in found.items()} == tensors
    assert list(found) == list(tensors)
    assert metadata_of(content) == metadata
    assert struct.unpack("<Q", content[:8])[0] % 8 == 0


def test_what_the_library_writes_we_read_at_the_right_place():
    made = {
        "b": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
        "a": numpy.arange(3, dtype=numpy.float16),
        "n": numpy.array(7, dtype=numpy.int64),
        "z": numpy.zeros((0, 4), dtype=numpy.float32),
    }
    content = save(made, metadata={"format": "pt"})
    found = parse_header(content, "f.safetensors", len(content))
    assert set(found) == set(made)
    for name, array in made.items():
        assert found[name].shape == array.shape
        assert content[found[name].begin : found[name].end] == array.tobytes()
        assert found[name].file == "f.safetensors"


def test_written_bytes_land_where_the_library_looks():
    arrays = {"w": numpy.arange(4, dtype=numpy.float64), "v": numpy.arange(5, dtype=numpy.int8)}
    header, offsets = write_header([("w", "F64", (4,)), ("v", "I8", (5,))], {"format": "pt"})
    content = bytearray(header) + bytes(37)
    for (_, array), offset in zip(arrays.items(), offsets, strict=True):
        content[offset : offset + array.nbytes] = array.tobytes()
    back = load(bytes(content))
    assert all((back[name] == array).all() for name, array in arrays.items())


def test_written_header_is_always_the_same():
    first = write_header([("w", "BF16", (2, 2))], {"format": "pt", "weightloom": "a: 1\n"})
    assert first == write_header([("w", "BF16", (2, 2))], {"format": "pt", "weightloom": "a: 1\n"})
    text = b'{"__metadata__":{"format":"pt","weightloom":"a: 1\\n"},"w":'
    text += b'{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    assert first[0] == struct.pack("<Q", 112) + text.ljust(112)
    assert first[1] == (120,)


def bytes_changed(content: bytes, data: st.DataObject) -> bytes:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(changed) - 1))
        kind = data.draw(st.sampled_from(["set", "drop", "insert", "digit"]))
        if kind == "drop":
            del changed[position]
        elif kind == "insert":
            changed.insert(position, data.draw(st.integers(0, 255)))
        else:
            changed[position] = data.draw(st.integers(48, 57) if kind == "digit" else st.integers(0, 255))
        if not changed:
            break
    return bytes(changed)


@given(entries, texts, st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_changed_bytes_are_never_accepted_where_the_library_refuses(tensors: dict, metadata: dict, data):
    content = bytes_changed(build(tensors, metadata), data)
    if we_accept(content):
        assert library_accepts(content)


odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=3), st.just([]), st.just({}),
    st.lists(st.integers(0, 3), max_size=3),
)  # fmt: skip


@given(entries.filter(bool), st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_changed_values_are_never_accepted_where_the_library_refuses(tensors: dict, data):
    content = build(tensors, {})
    length = header_length(content[:8], "x", len(content))
    header = json.loads(content[8 : 8 + length])
    name = data.draw(st.sampled_from(sorted(header)))
    field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", "0", "1", "new"]))
    value = data.draw(odd)
    if field in "01":
        header[name]["data_offsets"][int(field)] = value
    elif field == "new":
        header[data.draw(st.sampled_from(["__metadata__", "other"]))] = value
    else:
        header[name][field] = value
    text = json.dumps(header, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    changed = struct.pack("<Q", len(text)) + text + content[8 + length :]
    if we_accept(changed):
        assert library_accepts(changed)


def test_models_of_one_family_share_names_and_shapes():
    header, _ = write_header([(f"layers.{i}.weight", "BF16", (4096, 14336 + i % 2)) for i in range(4)], {})
    size = len(header) + sum(2 * 4096 * (14336 + i % 2) for i in range(4))
    one, other = (parse_header(header, file, size) for file in ("one.safetensors", "other.safetensors"))
    for key, mine, theirs in zip(one, one.values(), other.values(), strict=True):
        assert key is mine.name is theirs.name
        assert mine.shape is theirs.shape
    assert len({id(tensor.shape) for tensor in one.values()}) == 2
