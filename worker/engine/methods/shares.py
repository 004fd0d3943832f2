"""Methods in which each weight is shared out among the parents that changed it: SCE and RAM."""

from __future__ import annotations

import numpy as np

from app.recipe.findings import refuse
from worker.engine import topk
from worker.engine.masks import Cut
from worker.engine.methods.parameters import number
from worker.engine.mixing import mixed
from worker.engine.work import Work


def sce(work: Work) -> None:
    """y = b + Σ aᵢ[agrees] vᵢ / Σ aᵢ[agrees], aᵢ ∝ mean vᵢ², on the ``select_topk`` of largest variance.

    A change agrees when its sign is that of Σ vᵢ, 0 counting as plus. arXiv:2408.07990. Variances are ranked in
    fp32, equal ones by position.
    """
    backend = work.backend
    cut, changing = _most_varied(work)
    selection = backend.selection(cut, work.elements)
    count = len(work.step.inputs)
    parts = work.sweep(lambda: np.zeros(count), lambda chunk, sums: backend.energies(chunk, selection, sums))
    energy = np.sum(parts, axis=0) / work.elements if parts else np.zeros(count)
    total = energy.sum()
    if not np.isfinite(total):
        text = f"The changes in {work.step.name} are too large for their squares to be added up."
        raise refuse(
            "not-finite", work.step.name, text, "Leave out the parent with such weights, or use another method."
        )
    shares = energy / total if total > 0 else np.full(count, 1.0 / count)
    work.mixture = lambda: mixed(work.step, shares * changing, by="weight")
    work.write(lambda chunk: backend.agree(chunk, selection, shares))


def _most_varied(work: Work) -> tuple[Cut | None, float]:
    """The elements that may change, None for all; and which part of the tensor they are."""
    share = number(work.step, "select_topk", 1.0)
    if share >= 1.0:
        return None, 1.0
    cut, wanted = topk.largest_share(work, work.backend.variances, share)
    return cut, wanted / max(1, work.elements)


def ram(work: Work) -> None:
    """Changes that one parent alone made are kept, others averaged over those who made them. arXiv:2601.13572."""
    ones = np.ones(len(work.step.inputs))
    work.write(lambda chunk: work.backend.share_out(chunk, _epsilon(work), ones))


def ramplus_tl(work: Work) -> None:
    """RAM, lone changes of parent i times 1 + r·clamp(ρᵢ, 0, α), ρᵢ = shared changes / max(lone changes, epsilon)."""
    step, backend, epsilon = work.step, work.backend, _epsilon(work)
    size = (2, len(step.inputs))
    parts = work.sweep(
        lambda: np.zeros(size, np.int64), lambda chunk, counts: backend.count_changes(chunk, epsilon, counts)
    )
    lone, shared = np.sum(parts, axis=0) if parts else np.zeros(size)
    ratio = np.clip(shared / np.maximum(lone, max(epsilon, 1e-300)), 0.0, number(step, "alpha", 0.2))
    factors = 1.0 + number(step, "r", 0.1) * ratio
    work.write(lambda chunk: backend.share_out(chunk, epsilon, factors))


def _epsilon(work: Work) -> float:
    return number(work.step, "epsilon", 1e-5)
