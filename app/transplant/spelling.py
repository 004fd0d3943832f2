"""The text a token stands for, whatever its tokenizer's way of writing it.

Tokenizers write the same text differently: byte-level ones give each byte a printable letter (``Ġthe``, as in GPT-2),
those in SentencePiece's manner write a space as ``▁`` (``▁the``) and single bytes as ``<0x0A>``, WordPiece marks what
continues a word (``##ing``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from app.planning.tokenizer_file import TokenizerFile

Kind = Literal["text", "byte", "special"]
Manner = Literal["bytes", "pieces", "words", "plain"]
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"
_CONTINUES = "##"


@dataclass(frozen=True, slots=True)
class Spelled:
    """``text``: what the token stands for, as UTF-8 or a part of it. ``kind``: ``byte`` for a token there in case that
    a text has no other, ``special`` for one that stands for itself and not for text."""

    kind: Kind
    text: bytes


@dataclass(frozen=True)
class Spelling:
    """How a tokenizer writes text."""

    file: TokenizerFile

    @cached_property
    def manner(self) -> Manner:
        parts = {key: self.file.content.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")}
        written = json.dumps(parts, ensure_ascii=False)
        if '"ByteLevel"' in written:
            return "bytes"
        if '"Metaspace"' in written or _SPACE in written:
            return "pieces"
        return "words" if self.file.kind == "WordPiece" else "plain"

    def read(self, token: str) -> Spelled:
        """What a token of the vocabulary stands for."""
        entry = self.file.added.get(token)
        if entry is not None:
            return Spelled("special" if entry.get("special") is True else "text", token.encode())
        if self.manner == "bytes":
            return Spelled("text", b"".join(map(_byte_of, token)))
        byte = _BYTE.fullmatch(token)
        if byte is not None:
            return Spelled("byte", bytes.fromhex(byte[1]))
        if self.manner == "pieces":
            return Spelled("text", token.replace(_SPACE, " ").encode())
        if self.manner == "words":
            return Spelled("text", _word(token).encode())
        return Spelled("text", token.encode())

    def write(self, text: bytes) -> str | None:
        """How the tokenizer's own model would be handed this text; None where it is no whole text for it."""
        if self.manner == "bytes":
            return "".join(BYTES[one] for one in text)
        try:
            whole = text.decode()
        except UnicodeDecodeError:
            return None
        if self.manner == "pieces":
            return whole.replace(" ", _SPACE)
        return whole.removeprefix(" ") if self.manner == "words" else whole


def spell(file: TokenizerFile, tokens: Mapping[str, int]) -> dict[int, Spelled]:
    """What each of ``tokens`` (token -> id) stands for, by its id."""
    spelling = Spelling(file)
    return {number: spelling.read(token) for token, number in tokens.items()}


def _byte_letters() -> tuple[str, ...]:
    """The letter for each byte, as byte-level tokenizers have it since GPT-2: itself where that can be printed, else
    the next one free from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte) if byte in printable else chr(next(others)) for byte in range(256))


BYTES = _byte_letters()
_OF_LETTER = {letter: bytes([byte]) for byte, letter in enumerate(BYTES)}


def _byte_of(letter: str) -> bytes:
    return _OF_LETTER.get(letter) or letter.encode()


def _word(token: str) -> str:
    """WordPiece cuts at spaces first, so that a word's beginning has one before it."""
    if token.startswith(_CONTINUES) and len(token) > len(_CONTINUES):
        return token[len(_CONTINUES) :]
    return f" {token}" if token[:1].isalnum() else token
