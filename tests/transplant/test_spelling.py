"""Tokens are matched by the text they stand for, however their tokenizer writes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.planning.tokenizer_file import TokenizerFile, read_tokenizer
from app.planning.vocabulary import Known
from app.transplant.matching import match
from app.transplant.special import NewIds, strangers
from app.transplant.spelling import BYTES, Spelled, Spelling

BYTE_LEVEL: dict[str, Any] = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}}
PIECES: dict[str, Any] = {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}}
METASPACE: dict[str, Any] = {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁"}}


def tokenizer(
    tokens: list[str], parts: dict[str, Any], special: tuple[str, ...] = (), kind: str = "BPE"
) -> TokenizerFile:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    added = [{"id": vocabulary[token], "content": token, "special": True} for token in special]
    model = {"type": kind, "vocab": vocabulary, "merges": []}
    file = read_tokenizer(json.dumps({**parts, "added_tokens": added, "model": model}))
    assert file is not None
    return file


@pytest.mark.parametrize(
    ("parts", "kind", "token", "wanted"),
    [
        (BYTE_LEVEL, "BPE", "Ġthe", ("text", b" the")),
        (BYTE_LEVEL, "BPE", "ĊĊ", ("text", b"\n\n")),
        (BYTE_LEVEL, "BPE", "Ã©", ("text", "é".encode())),
        (BYTE_LEVEL, "BPE", "Ã", ("text", b"\xc3")),
        (BYTE_LEVEL, "BPE", "<0x0A>", ("text", b"<0x0A>")),
        (PIECES, "BPE", "▁the", ("text", b" the")),
        (PIECES, "BPE", "<0x0A>", ("byte", b"\n")),
        (METASPACE, "Unigram", "▁▁", ("text", b"  ")),
        (METASPACE, "Unigram", "é", ("text", "é".encode())),
        ({}, "WordPiece", "the", ("text", b" the")),
        ({}, "WordPiece", "##ing", ("text", b"ing")),
        ({}, "WordPiece", ",", ("text", b",")),
        ({}, "WordLevel", "the", ("text", b"the")),
    ],
)
def test_a_token_stands_for_its_text(parts: dict[str, Any], kind: str, token: str, wanted: tuple[str, bytes]) -> None:
    content = {**parts, "model": {"type": kind, "vocab": {token: 0} if kind != "Unigram" else [[token, 0.0]]}}
    file = read_tokenizer(json.dumps(content))
    assert file is not None
    found = Spelling(file).read(token)
    assert (found.kind, found.text) == wanted


def test_added_tokens_stand_as_they_are() -> None:
    file = tokenizer(["Ġa", "<|end|>", "  "], BYTE_LEVEL, ("<|end|>",))
    spaces = {"id": 2, "content": "  ", "special": False}
    file = TokenizerFile(file.content, file.kind, file.trained, {**file.added, "  ": spaces})
    assert Spelling(file).read("<|end|>") == Spelled("special", b"<|end|>")
    assert Spelling(file).read("  ") == Spelled("text", b"  ")


def test_every_byte_has_a_letter_of_its_own() -> None:
    assert len(set(BYTES)) == 256
    assert (BYTES[0x20], BYTES[0x0A], BYTES[ord("a")], BYTES[0xE9]) == ("Ġ", "Ċ", "a", "é")


@pytest.mark.parametrize(("parts", "text", "written"), [
    (BYTE_LEVEL, b" \xc3", "ĠÃ"), (PIECES, b" the", "▁the"), (PIECES, b"\xc3", None), ({}, b" a", " a"),
])  # fmt: skip
def test_text_is_written_as_the_tokenizer_does(parts: dict[str, Any], text: bytes, written: str | None) -> None:
    assert Spelling(tokenizer(["a"], parts)).write(text) == written


def test_the_two_ways_of_writing_meet() -> None:
    model = Known.of(tokenizer(["</s>", "Ġthe", "Ċ", "A", "x", "Ġmore"], BYTE_LEVEL, ("</s>",)), 5)
    tokens = ["<unk>", "</s>", "▁the", "<0x0A>", "<0x41>", "A", "new", "▁more", "<end>"]
    donor = Known.of(tokenizer(tokens, PIECES, ("<unk>", "</s>", "<end>")), 8)
    found = match(model, donor, ({"eos": 0}, {"eos": 8}), 10)
    assert found.own.tolist() == [-1, 0, 1, 2, 3, 3, -1, -1, 0, -1]  # Ġmore has no row: the model has five
    assert found.shared == (2, 3, 4, 5)
    assert set(found.fresh) == {0, 6, 7}
    assert found.by_role == {"eos": ("<end>", "</s>")}
    assert (found.tokens, found.kept, found.rows) == (9, 6, 10)


def test_ids_in_configs_are_the_donors() -> None:
    ids = NewIds({"eos_token_id": [7, 8], "pad_token_id": 90}, {"bos": 3, "eos": 7}, {1: 3, 5: 6}, 50)
    config = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 9, "text_config": {"sep_token_id": 5}, "width": 4}
    retold, changes = ids.retold(config, whole=True)
    assert retold == {
        "bos_token_id": 3, "eos_token_id": [7, 8], "pad_token_id": None, "text_config": {"sep_token_id": 6}, "width": 4,
    }  # fmt: skip
    assert {one.key for one in changes} == {"bos_token_id", "eos_token_id", "pad_token_id", "text_config.sep_token_id"}
    assert ids.lost == {"pad_token_id"}
    assert ids.retold({"width": 4}, whole=True)[0] == {
        "width": 4,
        "bos_token_id": 3,
        "eos_token_id": [7, 8],
        "pad_token_id": 90,
    }


def test_tokens_for_pictures_must_be_there_afterwards() -> None:
    config = {"image_token_id": 5, "video_token_id": 6, "eos_token_id": 9}
    assert list(strangers(config, {5: 1})) == [("video_token_id", 6)]
