"""Which elements of a change are kept: the largest, or a random share.

Random masks depend on nothing but the recipe: seed, tensor, parent and element. Each (seed, tensor, parent) is a
stream of 32-bit words from Philox4x32-10 (Salmon et al., SC'11), one word an element. Within a block of 4096 elements,
element 1024·k + r takes word k of the counter 1024·block + r, so that the four words of one counter land in four runs
of neighbours. An element is kept when its word is below ``threshold(probability)``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.engine.dtypes import BLOCK, Array

NEVER = 0x80000000
"""Above the bits of every magnitude."""

WORDS_OF_A_COUNTER = 4
COUNTERS = BLOCK // WORDS_OF_A_COUNTER
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


@dataclass(frozen=True, slots=True)
class Cut:
    """The largest values: those with bits above ``bits``, and some of those equal to it.

    Of the equal ones they are those before element ``place`` when ``first``, else those from ``place`` on.
    """

    bits: int
    place: int
    first: bool = True

    @property
    def least(self) -> tuple[int, int, int]:
        """(place, least bits before it, least bits from it on)."""
        return (self.place, self.bits + (not self.first), self.bits + self.first)


NOTHING = Cut(NEVER, 0)
EVERYTHING = Cut(-1, 0)


@dataclass(frozen=True, slots=True)
class Stream:
    """``key`` is Philox's key; ``salt`` fills the upper half of its counter. Two 32-bit words each."""

    key: tuple[int, int]
    salt: tuple[int, int]

    @property
    def words(self) -> Array:
        """uint32 [4]: key, then salt."""
        return np.array([*self.key, *self.salt], np.uint32)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Keeps the values that ``keep`` selects and ``drop`` does not."""

    keep: Cut
    drop: Cut = NOTHING


@dataclass(frozen=True, slots=True)
class Random:
    """Keeps each element with the same probability; below ``threshold``, see above."""

    stream: Stream
    threshold: int


@dataclass(frozen=True, slots=True)
class ByRank:
    """How masks are drawn by rank, for k parents of a tensor of rows (see ``Backend.draw_by_rank``).

    ``parents`` int64 [k]: which, the first after the base being 0; ``streams`` uint32 [k, 4]: ``Stream.words``;
    ``thresholds`` uint32 [k, depth]: for each rank. The ``depth`` elements of a row are ``inner`` apart.
    """

    parents: Array
    streams: Array
    thresholds: Array
    inner: int


@dataclass(frozen=True, slots=True)
class Marked:
    """Keeps the elements whose bit is set, least significant first; ``bits`` uint8 [⌈elements/8⌉]."""

    bits: Array


Mask = Ranked | Random | Marked

RANKED, RANDOM, MARKED = 0, 1, 2
PackedMasks = tuple[Array, Array, Array, Array]
"""Masks as kernels take them, one row for each parent but the base:

``kinds`` int64 [n] of RANKED, RANDOM or MARKED;
``cuts`` int64 [n, 6]: for RANKED ``Cut.least`` of what is kept, then of what is dropped from that;
``streams`` uint32 [n, 5]: for RANDOM the stream and the threshold;
``bits`` uint8 [n, ⌈elements/8⌉]: for MARKED one bit an element, least significant first.
"""


def pack(masks: Sequence[Mask], room: int = 0) -> PackedMasks:
    """``room``: bytes a mask for marking what random masks draw."""
    kinds = np.zeros(len(masks), np.int64)
    cuts = np.zeros((len(masks), 6), np.int64)
    streams = np.zeros((len(masks), 5), np.uint32)
    longest = max((len(mask.bits) for mask in masks if isinstance(mask, Marked)), default=room)
    bits = np.zeros((len(masks), longest), np.uint8)
    for i, mask in enumerate(masks):
        if isinstance(mask, Ranked):
            kinds[i] = RANKED
            cuts[i] = (*mask.keep.least, *mask.drop.least)
        elif isinstance(mask, Random):
            kinds[i] = RANDOM
            streams[i, :4] = mask.stream.words
            streams[i, 4] = mask.threshold
        else:
            kinds[i] = MARKED
            bits[i] = mask.bits
    return kinds, cuts, streams, bits


def stream(seed: int, tensor: str, parent: str) -> Stream:
    """The stream of one tensor of one parent, the parent named by its reference as the recipe writes it."""
    text = json.dumps(["weightloom mask 1", seed, tensor, parent])
    words = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], "<u4")
    return Stream((int(words[0]), int(words[1])), (int(words[2]), int(words[3])))


def threshold(probability: float) -> int:
    """Words below this are kept: a share ``probability`` of all, to 2⁻³²."""
    return min(max(int(probability * 2.0**32), 0), 2**32 - 1)
