"""A model whose tokenizer writes text in SentencePiece's manner, made with the tokenizers library."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from tests.support.checkpoints import write_json
from tests.support.tiny_models import make_tiny

SPECIAL = ("<unk>", "<bos>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
LETTERS = ("▁", *"abcdefghijklmnopqrstuvwxyz")
MERGED = (("▁", "t"), ("t", "h"), ("th", "e"), ("▁t", "h"), ("▁th", "e"), ("▁", "e"), ("e", "x"))
TOKENS = (*SPECIAL, *BYTES, *LETTERS, *("".join(pair) for pair in MERGED))
"""In the order of their ids."""
ROWS = 300
"""Of the embedding: a few more than there are tokens."""


def make_donor(folder: Path, *, seed: int, hidden: int = 48, tied: bool = False) -> Path:
    """Write a checkpoint with ``TOKENS`` into ``folder`` and return it."""
    make_tiny(folder, seed=seed, hidden=hidden, vocab=ROWS, tied=tied, dtype="float32", scale=1.0)
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(MERGED), unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    told = {"bos_token": "<bos>", "eos_token": "</s>", "unk_token": "<unk>", "model_max_length": 4096}
    write_json(folder / "tokenizer_config.json", told)
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    return folder
