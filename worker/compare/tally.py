"""The arithmetic: sums over blocks of the weights of all models, in fp64, and the effective rank of a change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from app.comparing.meeting import Met
from app.comparing.sums import TensorSums, pairs
from worker.engine.dtypes import Array


class Tally:
    """The sums of one tensor. Takes block after block; memory goes with the largest block alone."""

    def __init__(self, models: int, with_base: bool, top: float) -> None:
        """``top``: the share of a block's largest deltas whose overlap is counted."""
        self._models, self._with_base, self._top = models, with_base, top
        self._pairs = pairs(models)
        self.sound = True
        self._measured = self._common = 0
        self._squares = np.zeros(models + with_base)
        self._products, self._apart, self._delta_products, self._against = np.zeros((4, len(self._pairs)))
        self._delta_squares, self._sizes = np.zeros((2, models))
        self._against_all = 0.0
        self._tops, self._both = np.zeros(models, np.int64), np.zeros(len(self._pairs), np.int64)

    def add(self, weights: Array) -> None:
        """``weights``: fp64 [models, then the base; elements], the same elements of every model.

        A block with NaN or infinite values makes the tensor unsound: it is not compared.
        """
        if not np.isfinite(weights).all():
            self.sound = False
            return
        self._measured += weights.shape[1]
        self._squares += _dots(weights, weights)
        for number, (i, j) in enumerate(self._pairs):
            self._products[number] += _dots(weights[i], weights[j])
            apart = weights[i] - weights[j]
            self._apart[number] += _dots(apart, apart)
        if self._with_base:
            self._add_deltas(weights[:-1] - weights[-1])

    def _add_deltas(self, deltas: Array) -> None:
        self._delta_squares += _dots(deltas, deltas)
        sizes = np.abs(deltas)
        self._sizes += sizes.sum(axis=1)
        for number, (i, j) in enumerate(self._pairs):
            product = deltas[i] * deltas[j]
            self._delta_products[number] += product.sum()
            self._against[number] += _dots(sizes[i] + sizes[j], (product < 0).astype(np.float64))
        if self._models > 1:
            opposed = ((deltas.max(axis=0) > 0) & (deltas.min(axis=0) < 0)).astype(np.float64)
            self._against_all += _dots(sizes.sum(axis=0), opposed)
        self._add_largest(sizes)

    def _add_largest(self, sizes: Array) -> None:
        """The largest deltas are those not below the k-th largest, so equal ones are in together; zeros never are."""
        elements = sizes.shape[1]
        at = elements - max(1, math.ceil(self._top * elements))
        largest = sizes >= np.partition(sizes, at, axis=1)[:, at : at + 1]
        largest &= sizes > 0
        self._tops += largest.sum(axis=1)
        self._common += int(largest.all(axis=0).sum())
        for number, (i, j) in enumerate(self._pairs):
            self._both[number] += int((largest[i] & largest[j]).sum())

    def told(self, met: Met, ranks: tuple[float | None, ...], rank_most: int) -> TensorSums:
        deltas = self._with_base
        return TensorSums(
            met.name, met.layer, met.module, met.shape, met.elements, self._measured,
            squares=tuple(self._squares.tolist()),
            products=tuple(self._products.tolist()),
            apart=tuple(self._apart.tolist()),
            delta_squares=tuple(self._delta_squares.tolist()) if deltas else (),
            delta_products=tuple(self._delta_products.tolist()) if deltas else (),
            sizes=tuple(self._sizes.tolist()) if deltas else (),
            against=tuple(self._against.tolist()) if deltas else (),
            against_all=float(self._against_all),
            top=tuple(self._tops.tolist()) if deltas else (),
            both=tuple(self._both.tolist()) if deltas else (),
            common=self._common,
            ranks=ranks,
            rank_most=rank_most,
        )  # fmt: skip


def _dots(one: Array, other: Array) -> Any:
    """Sums of products along the last axis. Not by BLAS: its threads wait for each other over sums as short as these,
    and its order of summation goes with the machine."""
    return np.einsum("...e,...e->...", one, other)


def effective_rank(rows: Array) -> float | None:
    """exp(−Σ p ln p) with p the singular values of ``rows`` (fp64 [rows, columns]) divided by their sum.

    O. Roy and M. Vetterli, "The effective rank", EUSIPCO 2007. None for a matrix of zeros. The singular values are the
    roots of the eigenvalues of the smaller Gram matrix; what rounding leaves of zeros is cut off.
    """
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    squares = np.linalg.eigvalsh(gram)
    largest = squares[-1]
    if not largest > 0:
        return None
    values = np.sqrt(squares[squares > largest * len(squares) * np.finfo(np.float64).eps])
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
