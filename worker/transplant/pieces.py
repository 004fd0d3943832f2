"""New tokens as the model's own tokenizer would cut their text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from app.planning.tokenizer_file import TokenizerFile, read_tokenizer
from app.recipe.findings import refuse
from app.transplant.spelling import Spelled, Spelling, spell
from worker.steps.align import Combined


def cut(tokenizer: str, fresh: Mapping[int, Spelled], rows: int, ref: str) -> Combined:
    """For each of the ``fresh`` tokens the mean of its pieces; without those that the model has no pieces for.

    ``tokenizer``: the text of the model's tokenizer.json; ``rows`` of its embedding. The text goes to the tokenizer's
    model alone, spelled as that one writes it, so that no space is put before it and nothing is cut at words first.
    Raises Refused.
    """
    from tokenizers import Tokenizer  # a library that no other approach needs

    file = read_tokenizer(tokenizer)
    assert file is not None  # noqa: S101  it was read before anything was planned
    pieces = _Pieces(file, rows)
    try:
        model = Tokenizer.from_str(tokenizer).model
        found = {number: list(pieces.of(one, model)) for number, one in fresh.items()}
    except BaseException as problem:
        if not isinstance(problem, Exception) and type(problem).__name__ != "PanicException":
            raise
        fix = "Choose another approach: omp, nearest or mean."
        raise refuse("tokenizer-unusable", ref, f"The tokenizer.json of {ref} cannot be used.", fix) from problem
    return {number: (np.array(ids, np.int64), np.full(len(ids), 1 / len(ids))) for number, ids in found.items() if ids}


class _Pieces:
    def __init__(self, file: TokenizerFile, rows: int) -> None:
        self._spelling, self._rows = Spelling(file), rows
        self._bytes = {one.text: number for number, one in spell(file, file.tokens).items() if len(one.text) == 1}
        unknown = file.content["model"].get("unk_token")
        number = file.content["model"].get("unk_id", file.tokens.get(unknown) if isinstance(unknown, str) else None)
        self._unknown = number

    def of(self, one: Spelled, model: object) -> Iterator[int]:
        """Rows of the pieces; bytes one by one where the text is none by itself; nothing where a piece is unknown."""
        written = self._spelling.write(one.text)
        ids = [piece.id for piece in model.tokenize(written)] if written else []  # type: ignore[attr-defined]
        if not ids or self._unknown in ids:
            found = [self._bytes.get(bytes([byte]), -1) for byte in one.text]
            ids = [] if -1 in found else found
        yield from ids if all(number < self._rows for number in ids) else ()
