"""Fourth step: everything beside the weights. Config, tokenizer, recipe, card, and the factors that were found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from app.planning.card import model_card
from app.planning.mixture import COEFFICIENTS_FILE, Mixture, write_coefficients
from app.planning.plan import Plan
from worker.engine.execute import Written
from worker.steps.files import copy_file, write_file
from worker.steps.watch import Watch

CARD = "README.md"
Card = Callable[[Plan, str], str]
"""The text of the model card, from the plan and a title."""


def write_texts(
    plan: Plan, folders: Sequence[Path], out: Path, watch: Watch, *, title: str, mixtures: Sequence[Mixture] = (),
    card: Card = model_card,
) -> tuple[Written, ...]:  # fmt: skip
    """Write the plan's texts, the files carried over from the parents, the model card, and what the tensors were mixed
    of where the weights decided. Raises OSError."""
    written = []
    for carry in plan.carries:
        source = folders[carry.parent].joinpath(*PurePosixPath(carry.file).parts)
        written.append(copy_file(source, out, carry.file, watch.check))
    texts = {**plan.texts, CARD: card(plan, title)}
    if mixtures:
        texts[COEFFICIENTS_FILE] = write_coefficients(plan, mixtures)
    written += [write_file(out, name, text.encode()) for name, text in texts.items()]
    return tuple(written)
