"""Weighted sums of the parents whose weights do not depend on the tensors: linear, passthrough, task arithmetic."""

from __future__ import annotations

import numpy as np

from worker.engine.dtypes import Array
from worker.engine.methods.parameters import flag, number, weights
from worker.engine.work import Work


def linear(work: Work) -> None:
    """y = Σ wᵢ xᵢ / Σ wᵢ; not divided when ``normalize`` is false. arXiv:2203.05482."""
    weight = weights(work.step)
    blend(work, weight / weight.sum() if flag(work.step, "normalize") else weight)


def passthrough(work: Work) -> None:
    """y = s·x, s = 1 when ``scale`` is left out; also turns one dtype into another."""
    blend(work, np.array([number(work.step.inputs[0], "scale", 1.0)]))


def task_arithmetic(work: Work) -> None:
    """y = b + λ Σ wᵢ (xᵢ − b); divided by Σ wᵢ when ``normalize`` is true. arXiv:2212.04089."""
    step = work.step
    weight = weights(step)
    blend(work, number(step, "lambda", 1.0) * weight / divisor(weight, flag(step, "normalize")), deltas=True)


def transfer(work: Work) -> None:
    """y = x₁ + λ Σ wᵢ (xᵢ − b) over the parents after the first. arXiv:2310.04799."""
    factors = number(work.step, "lambda", 1.0) * weights(work.step)
    factors[0] = 1.0
    blend(work, factors, deltas=True)


def divisor(weight: Array, normalize: bool) -> float:
    """Σ wᵢ, or 1 when it is nearly 0 or not to be divided by."""
    total = float(weight.sum())
    return total if normalize and abs(total) >= 1e-8 else 1.0


def blend(work: Work, coefficients: Array, deltas: bool = False) -> None:
    """Writes Σ cᵢ xᵢ, or with ``deltas`` b + Σ cᵢ (xᵢ − b); ``coefficients`` fp64, one for each parent but the base."""
    factors = np.concatenate([[0.0], coefficients]) if deltas else coefficients
    work.write(lambda chunk: work.backend.combine(chunk, factors, deltas))
