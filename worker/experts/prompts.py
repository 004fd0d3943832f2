"""Prompts as the base's tokenizer cuts them."""

from __future__ import annotations

from collections.abc import Sequence

from app.experts.costs import MOST_TOKENS
from app.recipe.findings import Refused, refuse

MOST_IN_ALL = 32_768


def tokenise(tokenizer: str, prompts: Sequence[str], rows: int, ref: str) -> tuple[list[list[int]], int]:
    """The ids of each prompt, special tokens included as the tokenizer adds them, at most ``MOST_TOKENS``; and how many
    prompts were longer. ``tokenizer``: the text of tokenizer.json; ``rows`` of the embedding. Raises Refused."""
    from tokenizers import Tokenizer  # a library that no other job needs

    try:
        cutter = Tokenizer.from_str(tokenizer)
        cutter.no_truncation()
        cutter.no_padding()
        found = [list(one.ids) for one in cutter.encode_batch(list(prompts), add_special_tokens=True)]
    except BaseException as problem:
        if not isinstance(problem, Exception) and type(problem).__name__ != "PanicException":
            raise
        raise _unusable(ref, "its tokenizer.json cannot be used") from problem
    if any(not ids for ids in found):
        raise _unusable(ref, "its tokenizer makes nothing of a prompt")
    if any(max(ids) >= rows for ids in found):
        raise _unusable(ref, f"its tokenizer gives ids beyond the {rows:,} rows of its embedding")
    cut = [ids[:MOST_TOKENS] for ids in found]
    if sum(map(len, cut)) > MOST_IN_ALL:
        text = f"The prompts have {sum(map(len, cut)):,} tokens together; {MOST_IN_ALL:,} are taken."
        raise refuse("too-many-tokens", "experts", text, "A few short prompts for each expert say as much.")
    return cut, sum(len(ids) > MOST_TOKENS for ids in found)


def _unusable(ref: str, why: str) -> Refused:
    fix = "Choose a base with a working tokenizer, or gate_mode: random."
    return refuse("tokenizer-unusable", ref, f"Prompts cannot be read as {ref} would: {why}.", fix)
