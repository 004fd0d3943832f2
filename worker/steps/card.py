"""Fourth step: everything beside the weights. Config, tokenizer, recipe, card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from app.planning.card import model_card
from app.planning.plan import Plan
from worker.engine.execute import Written
from worker.steps.files import copy_file, write_file
from worker.steps.watch import Watch

CARD = "README.md"


def write_texts(plan: Plan, folders: Sequence[Path], out: Path, watch: Watch, *, title: str) -> tuple[Written, ...]:
    """Write the plan's texts, the files carried over from the parents, and the model card. Raises OSError."""
    written = []
    for carry in plan.carries:
        source = folders[carry.parent].joinpath(*PurePosixPath(carry.file).parts)
        written.append(copy_file(source, out, carry.file, watch.check))
    texts = {**plan.texts, CARD: model_card(plan, title)}
    written += [write_file(out, name, text.encode()) for name, text in texts.items()]
    return tuple(written)
