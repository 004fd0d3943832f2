"""Methods that turn directions rather than average numbers; their formulas are in ``worker.engine.coefficients``.

For whole tensors one pass gathers inner products and one applies the coefficients. By rows both happen in one pass,
by columns in two.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from app.recipe.findings import refuse
from worker.engine import coefficients
from worker.engine.dtypes import BLOCK, Array
from worker.engine.methods.blends import blend
from worker.engine.methods.parameters import flag, number, weights
from worker.engine.mixing import mixed
from worker.engine.work import Work

Formula = Callable[[Array], Array]
"""From inner products fp64 [..., n, n] to coefficients fp64 [..., n]."""


def slerp(work: Work) -> None:
    """From the base to the other parent, by ``t`` along the arc. Shoemake 1985."""
    t = number(work.step, "t", 0.5)
    gram = inner_products(work, deltas=False)
    factors = coefficients.slerp(gram, t)
    work.mixture = lambda: mixed(work.step, factors, gram)
    work.write(lambda chunk: work.backend.combine(chunk, factors, False))


def nuslerp(work: Work) -> None:
    """SLERP by weights, of the parents or of their changes; of the tensor, its rows or its columns."""
    step = work.step
    first, second = weights(step)

    def formula(gram: Array) -> Array:
        return coefficients.nuslerp(gram, first, second)

    if flag(step, "nuslerp_flatten") or len(step.shape) < 2:
        turn(work, formula)
    elif flag(step, "nuslerp_row_wise"):
        turn_columns(work, formula)
    else:
        turn_rows(work, formula)


def multislerp(work: Work) -> None:
    """The weighted mean on the sphere. A single parent is taken as it is, even where there is a base."""
    step = work.step
    if len(step.inputs) == 1:
        only = np.eye(len(work.sources))[-1]
        work.mixture = lambda: mixed(step, only)
        work.write(lambda chunk: work.backend.combine(chunk, only, False))
        return
    normalize, eps = flag(step, "normalize_weights"), number(step, "eps", 1e-8)
    try:
        turn(work, lambda gram: coefficients.multislerp(gram, weights(step), normalize, eps))
    except coefficients.NoDirection:
        raise refuse(
            "opposite-directions",
            step.name,
            f"The parents' directions in {step.name} cancel each other out, so they have no mean direction.",
            "Change the weights, or use the method linear.",
        ) from None


def karcher(work: Work) -> None:
    """The Karcher mean of all parents. Grove & Karcher 1973."""
    most, tol = int(number(work.step, "max_iter", 10)), number(work.step, "tol", 1e-5)
    turn(work, lambda gram: coefficients.karcher(gram, most, tol))


def model_stock(work: Work) -> None:
    """From the base towards the parents' mean as far as their angles say, of the tensor or row by row."""
    by_rows = flag(work.step, "filter_wise") and len(work.step.shape) >= 2
    (turn_rows if by_rows else turn)(work, coefficients.model_stock)


def inner_products(work: Work, deltas: bool) -> Array:
    """fp64 [n, n] of all inputs, or with ``deltas`` of the changes from the base. Products are taken in fp32, and once
    more in fp64 where they are too large for that."""
    count = len(work.sources) - deltas

    def swept(look: Callable[[Any, Array], None]) -> Array:
        parts = work.sweep(lambda: np.zeros((count, count)), look)
        return np.sum(parts, axis=0) if parts else np.zeros((count, count))

    upper = swept(lambda chunk, sums: work.backend.gram(chunk, sums, deltas))
    if not np.isfinite(upper).all():
        upper = swept(lambda chunk, sums: _add_in_double(work.backend.floats(chunk), sums, deltas))
    return upper + np.triu(upper, 1).T


def _add_in_double(values: Array, sums: Array, deltas: bool) -> None:
    """Adds the inner products above the diagonal and on it, block by block, so that chunks do not matter."""
    for start in range(0, values.shape[1], BLOCK):
        block = values[:, start : start + BLOCK].astype(np.float64)
        block = block[1:] - block[0] if deltas else block
        sums += np.triu((block[:, None] * block[None]).sum(axis=2))


def turn(work: Work, formula: Formula) -> None:
    """Writes Σ cᵢ xᵢ, or where there is a base b + Σ cᵢ (xᵢ − b)."""
    deltas = work.step.base is not None
    gram = inner_products(work, deltas)
    factors = formula(gram)
    work.mixture = lambda: mixed(work.step, factors, gram)
    blend(work, factors, deltas)


def turn_rows(work: Work, formula: Formula) -> None:
    """The same for each row (along the last axis) by itself."""
    width = work.step.shape[-1]
    found = np.full((work.elements // max(1, width), len(work.step.inputs)), np.nan, np.float32)
    work.mixture = lambda: mixed(work.step, found, by="row")

    def make(chunk: Any) -> None:
        base, vectors = _vectors(work, chunk)
        rows = vectors.reshape(len(vectors), -1, width)
        factors = formula(_products(rows, along=2)).astype(np.float32)
        found[chunk.start // width :][: len(factors)] = factors
        total = np.sum([factors[:, i, None] * row for i, row in enumerate(rows)], axis=0)
        work.backend.put(chunk, base + total.reshape(-1))

    work.write(make, width)


def turn_columns(work: Work, formula: Formula) -> None:
    """The same for each column (along the first axis) by itself."""
    width = prod(work.step.shape[1:])
    unit = max(1, BLOCK // max(1, width)) * width
    count = len(work.step.inputs)

    def look(chunk: Any, sums: Array) -> None:
        _, vectors = _vectors(work, chunk)
        for start in range(0, chunk.count, unit):
            sums += _products(vectors[:, start : start + unit].reshape(count, -1, width), along=1)

    parts = work.sweep(lambda: np.zeros((width, count, count)), look, unit)
    factors = formula(np.sum(parts, axis=0)).astype(np.float32) if parts else np.zeros((width, count), np.float32)
    work.mixture = lambda: mixed(work.step, factors, by="column")

    def make(chunk: Any) -> None:
        base, vectors = _vectors(work, chunk)
        rows = vectors.reshape(count, -1, width)
        total = np.sum([factors[:, i] * row for i, row in enumerate(rows)], axis=0)
        work.backend.put(chunk, base + total.reshape(-1))

    work.write(make, unit)


def _vectors(work: Work, chunk: Any) -> tuple[Array, Array]:
    """The base (or zeros) and the inputs (or their changes), fp32 [count] and [n, count]."""
    values = work.backend.floats(chunk)
    if work.step.base is None:
        return np.zeros(chunk.count, np.float32), values
    return values[0], values[1:] - values[0]


def _products(vectors: Array, along: int) -> Array:
    """Inner products along axis 1 or 2 of ``vectors`` fp32 [n, rows, columns]: fp64 [columns or rows, n, n]."""
    wide = vectors.astype(np.float64)
    count = len(wide)
    gram = np.empty((wide.shape[3 - along], count, count))
    for i in range(count):
        for k in range(i, count):
            gram[:, i, k] = gram[:, k, i] = (wide[i] * wide[k]).sum(axis=along - 1)
    return gram
