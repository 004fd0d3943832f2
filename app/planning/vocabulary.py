"""The result's vocabulary when the parents' differ: which tokens it has, and which rows of the parents each gets.

The rules are those of published recipes (``tokenizer_source``, ``tokenizer``). A row of the result that is no token's
(padding, a gap between ids) counts as a token named by its number, so padding is neither lost nor mixed up.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from app.planning.tokenizer_file import TokenizerFile

Row = tuple[int, int]
"""A parent and one of its rows."""
Filling = tuple[Row, ...] | None
"""What a parent without a row of its own gets: the mean of these rows, zeros for none. None: the parent's mean row."""


@dataclass(frozen=True, slots=True)
class Known:
    """A parent's tokenizer, those of its tokens that have a row, and its number of rows."""

    file: TokenizerFile
    tokens: Mapping[str, int]
    rows: int

    @classmethod
    def of(cls, file: TokenizerFile, rows: int) -> Known:
        return cls(file, {token: number for token, number in file.tokens.items() if number < rows}, rows)


@dataclass(frozen=True, slots=True)
class Rules:
    """Rows of the result that the recipe rules over: where they come from, and those whose parents' own rows do not
    count. ``base`` is the parent whose row goes before others'."""

    base: int | None = None
    explicit: Mapping[int, tuple[Row, ...]] = field(default_factory=lambda: MappingProxyType({}))
    forced: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Vocabulary:
    """``tokens``: token -> row of the result, of ``rows``. ``own[parent][row]``: the parent's row for the same token,
    -1 if it has none. ``owner`` is the parent whose ids the tokens keep."""

    owner: int
    tokens: Mapping[str, int]
    rows: int
    own: tuple[array[int], ...]
    rules: Rules = field(default_factory=Rules)
    _known_fillings: dict[frozenset[int], dict[int, Filling]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def named(self) -> frozenset[int]:
        """The rows that are a token's."""
        return frozenset(self.tokens.values())

    def row_map(self, parent: int) -> array[int]:
        """For each row of the result the parent's row that goes in, -1 where ``fill`` tells what does."""
        own = array("i", self.own[parent])
        for row in self.rules.forced:
            own[row] = -1
        return own

    def fill(self, parent: int, available: Collection[int]) -> dict[int, Filling]:
        """What goes into the rows that a parent lacks, when the ``available`` parents have the tensor."""
        fillings = self._fillings(frozenset(available))
        return {row: fillings[row] for row, own in enumerate(self.row_map(parent)) if own < 0}

    def _fillings(self, available: frozenset[int]) -> dict[int, Filling]:
        """The filling of every row that some parent lacks."""
        if available not in self._known_fillings:
            rows = {row for own in self.own for row, number in enumerate(own) if number < 0} | self.rules.forced
            self._known_fillings[available] = {row: self.filling(row, available) for row in rows}
        return self._known_fillings[available]

    def filling(self, row: int, available: Collection[int]) -> Filling:
        """The row's source by the recipe; else the base's row; else the mean of all there are."""
        explicit = self.rules.explicit.get(row)
        if explicit is not None:
            return tuple(one for one in explicit if one[0] in available)
        found = tuple((parent, self.own[parent][row]) for parent in sorted(available) if self.own[parent][row] >= 0)
        first = self.rules.base if row in self.named else self.owner
        preferred = tuple(one for one in found if one[0] == first)
        return preferred or found or (() if row in self.named else None)

    def without_row(self) -> list[str]:
        """Tokens that no parent has and the recipe gives no source for."""
        unowned = {row for row in self.named if self.own[self.owner][row] < 0} - self.rules.explicit.keys()
        orphans = {row for row in unowned if all(own[row] < 0 for own in self.own)}
        return [token for token, row in self.tokens.items() if row in orphans]


def number_tokens(owner: Known, others: Iterable[Known], more: Iterable[str] = ()) -> dict[str, int]:
    """Token -> row: the owner's tokens at their ids, then what each other has beyond, in order of its ids, then
    ``more``. New tokens come right after the highest id, so they use up padding before the matrix grows."""
    tokens = dict(sorted(owner.tokens.items(), key=lambda one: (one[1], one[0])))
    free = max(tokens.values(), default=-1) + 1
    beyond = (token for other in others for token, _ in sorted(other.tokens.items(), key=lambda one: (one[1], one[0])))
    for token in (*beyond, *more):
        if token not in tokens:
            tokens[token] = free
            free += 1
    return tokens


def count_rows(owner: Known, tokens: Mapping[str, int], multiple: int = 1) -> int:
    """The owner's rows, padding and all, or as many as the tokens need; rounded up to a multiple."""
    needed = max(owner.rows, max(tokens.values(), default=-1) + 1)
    return -(-needed // multiple) * multiple


def own_rows(known: Known, tokens: Mapping[str, int], rows: int, *, is_owner: bool) -> array[int]:
    """Row of the result -> the parent's row, int32 [rows], -1 for none.

    A row without a token is the parent's row of the same number, unless that is one of its tokens'.
    """
    own = array("i", [-1]) * rows
    named = set(tokens.values()) if is_owner else set(tokens.values()) | set(known.tokens.values())
    for row in set(range(min(rows, known.rows))) - named:
        own[row] = row
    for token, row in tokens.items():
        if token in known.tokens:
            own[row] = known.tokens[token]
    return own


def join(known: Sequence[Known], owner: int, tokens: Mapping[str, int], rows: int, rules: Rules) -> Vocabulary:
    """The vocabulary with these tokens."""
    own = tuple(own_rows(one, tokens, rows, is_owner=parent == owner) for parent, one in enumerate(known))
    return Vocabulary(owner, tokens, rows, own, rules)
