"""Exact selection of the largest values of a tensor without holding it.

Values are told apart by the bits of non-negative fp32 numbers, which sort like the numbers. Equal values are ordered
by position: the ``m`` largest are one definite set, and a ``Cut`` tells which.

A sample says between which two values the threshold lies; one pass counts what is above and collects the few values
inside. Values equal to a bound are only counted, so that many equal ones cost nothing. Should the bracket miss, the
threshold is found by counting the upper 16 and then the lower 15 bits of all values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worker.engine.backend import Tallied
from worker.engine.dtypes import BLOCK, Array
from worker.engine.masks import EVERYTHING, NEVER, NOTHING, Cut
from worker.engine.sample import LOW_BITS, Sample
from worker.engine.work import Work

SMALL = 1 << 18
"""Tensors up to this size are simply held."""

_FEWEST, _MOST = 32, 1024
_PIECE = 1024
_SIGMAS = 5.0
_WIDEST = 0.06

Quantity = Callable[[Any], Any]
"""From a chunk to the bits of its values, [rows, count], as the back end keeps them."""


@dataclass(slots=True)
class _Question:
    """The ``wanted`` largest of row ``row``, 0 < wanted <= elements; looked for from ``low`` to ``high``.

    Or the share ``of_others`` of the values that are not 0, when it is not yet known how many these are.
    """

    row: int
    wanted: int
    low: int = 0
    high: int = 0
    of_others: float = 0.0


@dataclass(frozen=True, slots=True)
class _Tally:
    """What one chunk holds: values above ``high``, equal to it, equal to ``low``, and those between, in order."""

    start: int
    count: int
    above: int
    at_high: int
    at_low: int
    inside: Array


@dataclass(frozen=True, slots=True)
class _Values:
    """The values to choose from. ``unit``: they can only be computed for whole units of so many elements."""

    work: Work
    quantity: Quantity
    unit: int
    first: bool

    def sweep(self, look: Callable[[Any, list[Any]], None]) -> list[Any]:
        """One pass: ``look(chunk, found)`` adds to ``found``; returns all that was found, in order."""
        found: list[list[Any]] = self.work.sweep(list, look, BLOCK if self.unit == 1 else self.unit)
        return [one for segment in found for one in segment]

    def tallies(self, chunk: Any, asked: Array) -> list[Tallied]:
        """For each (row, low, high) of ``asked`` int64 [questions, 3]. Changes are counted without laying them out."""
        backend = self.work.backend
        if self.quantity == backend.magnitudes:
            return list(backend.tally_changes(chunk, asked))
        return list(backend.tally(self.quantity(chunk), asked))

    def tally_all(self, questions: Sequence[_Question]) -> list[list[_Tally]]:
        """For each chunk in order, one for each question."""
        asked = np.array([(one.row, one.low, one.high) for one in questions], np.int64)

        def look(chunk: Any, found: list[Any]) -> None:
            found.append([_Tally(chunk.start, chunk.count, *each) for each in self.tallies(chunk, asked)])

        return self.sweep(look)

    def read(self, start: int, count: int) -> Array:
        """uint32 [rows, count]."""
        chunk = self.work.peek(start, count)
        return np.array(self.work.backend.to_numpy(self.quantity(chunk)), np.uint32)


def largest(
    work: Work, quantity: Quantity, wanted: Sequence[Sequence[int]], unit: int = 1, first: bool = True
) -> list[list[Cut]]:
    """For each row of ``quantity`` and each number in ``wanted[row]``, the cut that selects so many largest values.

    Of equal values the ``first`` ones count as larger, or else the last ones.
    """
    total = work.elements
    questions = {(row, m): _Question(row, m) for row, numbers in enumerate(wanted) for m in numbers if 0 < m < total}
    cuts = _answer(_Values(work, quantity, unit, first), list(questions.values())) if questions else []
    known = dict(zip(questions, cuts, strict=True))

    def cut(row: int, m: int) -> Cut:
        if m <= 0:
            return NOTHING
        return EVERYTHING if m >= total else known[row, m]

    return [[cut(row, m) for m in numbers] for row, numbers in enumerate(wanted)]


def largest_share(work: Work, quantity: Quantity, share: float) -> tuple[Cut, int]:
    """The cut that selects the largest of row 0, and how many: a ``share`` below 1 of those that are not 0."""
    values = _Values(work, quantity, 1, True)
    if work.elements <= SMALL:
        row = _hold(values)[0] if work.elements else np.zeros(0, np.uint32)
        wanted = int(np.count_nonzero(row) * share)
        return (_cut_of_row(row, wanted, True) if wanted else NOTHING), wanted
    one, zeros = _Question(0, 0, of_others=share), _Question(0, 0)
    _set_brackets(values, [one])
    chunks = values.tally_all([one, zeros])
    one.wanted = int((work.elements - sum(at_zero.at_high for _, at_zero in chunks)) * share)
    if not one.wanted:
        return NOTHING, 0
    cut = _resolve(values, one, [tally for tally, _ in chunks])
    if cut is None:
        _pin_down(values, [one])
        cut = next(found for found in _look(values, [one]) if found is not None)
    return cut, one.wanted


def order_statistics(work: Work, quantity: Quantity, ranks: Sequence[int], unit: int = 1) -> Array:
    """The values with these ranks among row 0 of ``quantity``, rank 0 being the smallest: fp32 [ranks]."""
    questions = [_Question(0, work.elements - rank) for rank in ranks]
    cuts = _answer(_Values(work, quantity, unit, True), questions)
    return np.array([cut.bits for cut in cuts], np.uint32).view(np.float32)


def _answer(values: _Values, questions: list[_Question]) -> list[Cut]:
    if values.work.elements <= SMALL:
        rows = _hold(values)
        return [_cut_of_row(rows[one.row], one.wanted, values.first) for one in questions]
    _set_brackets(values, questions)
    cuts = _look(values, questions)
    missed = [one for one, cut in zip(questions, cuts, strict=True) if cut is None]
    if missed:
        _pin_down(values, missed)
        found = iter(_look(values, missed))
        cuts = [next(found) if cut is None else cut for cut in cuts]
    return [cut for cut in cuts if cut is not None]


def _hold(values: _Values) -> Array:
    def look(chunk: Any, found: list[Any]) -> None:
        found.append(np.array(values.work.backend.to_numpy(values.quantity(chunk)), np.uint32))

    return np.concatenate(values.sweep(look), axis=1)


def _cut_of_row(row: Array, wanted: int, first: bool) -> Cut:
    """The cut of one row that is at hand, uint32 [elements]."""
    ((bits, rest),) = select(row, [wanted])
    equals = np.flatnonzero(row == bits)
    return Cut(bits, _place(equals, rest if first else len(equals) - rest), first)


def select(values: Array, wanted: Sequence[int]) -> list[tuple[int, int]]:
    """For each number m the m-th largest of ``values`` uint32 [count], and how many equal to it make up the m.

    By counting upper, then lower bits: a sort would take ten times as long on some processors.
    """
    upper = values >> np.uint32(LOW_BITS)
    counts = np.bincount(upper, minlength=NEVER >> LOW_BITS)
    found = []
    for m in wanted:
        high, rest = _digit(counts, m)
        lower = values[upper == high] & np.uint32((1 << LOW_BITS) - 1)
        low, rest = _digit(np.bincount(lower, minlength=1), rest)
        found.append(((high << LOW_BITS) | low, rest))
    return found


def _digit(counts: Array, wanted: int) -> tuple[int, int]:
    """The bin, counted from the top, that holds the ``wanted`` largest value, and which of the bin's values it is."""
    from_top = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_top, wanted))
    return len(counts) - 1 - place, wanted - (int(from_top[place - 1]) if place else 0)


def _place(equals: Array, before: int) -> int:
    """The element after the first ``before`` of the elements ``equals``."""
    return int(equals[before - 1]) + 1 if before else 0


def _set_brackets(values: _Values, questions: list[_Question]) -> None:
    """Low and high from a sample: five standard deviations around the wanted share, and never far from it."""
    total = values.work.elements
    size = max(1, _PIECE // values.unit) * values.unit
    pieces_wanted = min(max(_FEWEST, total // (128 * _PIECE)), _MOST)
    starts = {int(at) // values.unit * values.unit for at in np.linspace(0, total - size, pieces_wanted)}
    pieces = np.stack([values.read(start, size) for start in sorted(starts)], axis=1)
    samples = {row: Sample(pieces[row]) for row in {one.row for one in questions}}
    for one in questions:
        sample = samples[one.row]
        others = sample.share_above(0)
        share = one.of_others * others if one.of_others else one.wanted / total
        middle = sample.from_top(min(max(1, round(share * sample.size)), sample.size))
        deviation = sample.deviation(share, middle) + one.of_others * sample.deviation(others, 0)
        half = min(_WIDEST, _SIGMAS * deviation + 2 / sample.size)
        one.low, one.high = sample.bounds(share - half, share + half)


def _look(values: _Values, questions: list[_Question]) -> list[Cut | None]:
    """The cuts, None where the bracket does not hold the threshold."""
    chunks = values.tally_all(questions)
    return [_resolve(values, one, [chunk[i] for chunk in chunks]) for i, one in enumerate(questions)]


def _resolve(values: _Values, one: _Question, tallies: list[_Tally]) -> Cut | None:
    rest = one.wanted - sum(tally.above for tally in tallies)
    at_high = [tally.at_high for tally in tallies]
    if rest <= 0:
        return None
    if rest <= sum(at_high):
        return _cut_among_equals(values, one.row, one.high, rest, tallies, at_high)
    rest -= sum(at_high)
    inside = np.concatenate([tally.inside for tally in tallies])
    if rest <= len(inside):
        ((bits, rest),) = select(inside, [rest])
        equals = [int(np.count_nonzero(tally.inside == bits)) for tally in tallies]
        return _cut_among_equals(values, one.row, bits, rest, tallies, equals)
    rest -= len(inside)
    at_low = [tally.at_low for tally in tallies]
    if one.low < one.high and rest <= sum(at_low):
        return _cut_among_equals(values, one.row, one.low, rest, tallies, at_low)
    return None


def _cut_among_equals(values: _Values, row: int, bits: int, rest: int, tallies: list[_Tally], equals: list[int]) -> Cut:
    """``rest`` of the values equal to ``bits`` belong to the largest: up to, or from, which element?"""
    before = rest if values.first else sum(equals) - rest
    for tally, count in zip(tallies, equals, strict=True):
        if before == 0:
            break
        if before <= count:
            here = np.flatnonzero(values.read(tally.start, tally.count)[row] == bits)
            return Cut(bits, tally.start + _place(here, before), values.first)
        before -= count
    return Cut(bits, 0, values.first)


def _pin_down(values: _Values, questions: list[_Question]) -> None:
    """Sets ``low`` and ``high`` to the threshold itself, in two passes."""
    upper = [0] * len(questions)
    rest = [one.wanted for one in questions]
    for prefixes, size in ((None, NEVER >> LOW_BITS), (upper, 1 << LOW_BITS)):
        counts = _histograms(values, questions, prefixes, size)
        for i, one in enumerate(questions):
            digit, rest[i] = _digit(counts[i], rest[i])
            if prefixes is None:
                upper[i] = digit
            else:
                one.low = one.high = (upper[i] << LOW_BITS) | digit


def _histograms(values: _Values, questions: list[_Question], prefixes: list[int] | None, size: int) -> Array:
    """How many values have each upper part, or each lower part among those with the given upper part."""

    def look(chunk: Any, found: list[Array]) -> None:
        bits = values.quantity(chunk)
        if not found:
            found.append(np.zeros((len(questions), size), np.int64))
        for i, one in enumerate(questions):
            prefix = None if prefixes is None else prefixes[i]
            found[0][i] += values.work.backend.histogram(bits[one.row], LOW_BITS, prefix)

    return np.asarray(np.sum(values.sweep(look), axis=0))
