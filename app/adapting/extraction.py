"""The adapter that an extraction will give, before a weight is read: which modules, at most how large."""

from __future__ import annotations

from collections.abc import Iterator

from app.adapting.difference import Difference, leaf
from app.adapting.outline import PROCESS_BYTES, Outline, needed_files, stored_bytes
from app.adapting.wanted import Wish
from app.planning.ledger import listed
from app.planning.parents import Parents
from app.planning.strict_json import short
from app.recipe.findings import Finding

_SINGLE = 4
_MATRIX_COPIES = 4
"""Of the matrix at work, in fp32: its values, the base's, and what the projection makes of it."""


def outline_extraction(difference: Difference, parents: Parents, wish: Wish) -> Outline:
    """Sizes as they are at most: tensors that did not change, or need less rank, take nothing or less."""
    lora = [pair for pair in difference.pairs if pair.kind == "lora"]
    ranks = {pair.module: min(wish.rank, *pair.tuned.shape) for pair in lora}
    elements = sum(ranks[pair.module] * sum(pair.tuned.shape) for pair in lora)
    whole = sum(pair.tuned.elements for pair in difference.pairs if pair.kind == "whole")
    output = stored_bytes(elements + whole, len(difference.pairs), wish.dtype)
    largest = max((pair.tuned.elements for pair in difference.pairs), default=0)
    files = [file for facts in parents.with_adapters for file in needed_files(facts)]
    return Outline(
        ranks,
        output,
        sum(file.size for file in files if not file.present),
        PROCESS_BYTES + _SINGLE * (_MATRIX_COPIES * largest + elements + whole) + 2 * output,
    )


def about_extraction(difference: Difference, parents: Parents, wish: Wish) -> Iterator[Finding]:
    """What the adapter can hold of the change, and what it cannot."""
    left_out = sorted({leaf(module) for module in difference.linear} - set(wish.modules)) if wish.modules else []
    if left_out:
        text = f"What changed in {listed([short(name) for name in left_out], most=9)} is left out."
        yield Finding("info", "modules-left-out", "modules", text, "Name them too, or none to take all.")
    saved = list(dict.fromkeys(leaf(pair.module) for pair in difference.pairs if pair.kind == "whole"))
    if not wish.whole:
        text = "Norms, embeddings, head and biases stay as they are in the base, also where they changed."
        yield Finding("info", "whole-left-out", "whole", text, "Save them along if the fine-tune added tokens.")
    elif saved:
        text = f"{listed([short(name) for name in saved], most=9)} are saved whole where they changed: "
        text += "no low rank fits them."
        fix = "The sizes count all of them. Leave them out to keep the adapter small."
        yield Finding("info", "saved-whole", "whole", text, fix)
    tuned, base = parents.facts
    named = {name.lower() for name in tuned.base_models}
    plain = base.ref.partition("+")[0].partition("@")[0]
    if named and base.commit and plain.lower() not in named:
        text = f"The card of {tuned.ref} names another base: {listed([short(name) for name in tuned.base_models])}."
        yield Finding("warning", "another-base", "base", text, "What is taken away should be what it was trained from.")
    yield from difference.findings
