"""JSON from strangers."""

from __future__ import annotations

import math

import pytest

from app.planning.strict_json import BadJson, depth, load_object, short


def test_good():
    assert load_object(b'{"a": [1, 2.5, null, true, "\\u00e9"]}') == {"a": [1, 2.5, None, True, "é"]}
    assert load_object(b'{"model_max_length": 1000000000000000019884624838656}')["model_max_length"] > 10**30


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"1",
        b'"a"',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1, "a": 1}',
        b'{"x": {"a": 1, "a": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 50 + b"}",
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_bad(raw: bytes):
    with pytest.raises(BadJson):
        load_object(raw)


def test_infinite_numbers_when_asked_for():
    found = load_object(b'{"a": [0.0, Infinity, NaN]}', infinite=True)
    assert found["a"][1] == math.inf
    assert math.isnan(found["a"][2])


def test_depth_never_recurses():
    nested: object = 1
    for _ in range(100_000):
        nested = [nested]
    assert depth(nested) == 100_000
    assert depth(1) == 0
    assert depth({"a": 1, "b": [1, {"c": ()}]}) == 4
    while isinstance(nested, list):
        nested = nested.pop()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("a\nb\x00\ud800", "a\\nb\\x00\\ud800"),
        ("x" * 100, "x" * 77 + "..."),
        ([1, 2], "[1, 2]"),
        ([1] * 20, "[1, 1, 1, 1, 1, 1, 1, 1]"),
        ([[]], "[...]"),
        ({}, "a dict"),
        (None, "a NoneType"),
    ],
)
def test_short(value: object, text: str):
    assert short(value) == text
