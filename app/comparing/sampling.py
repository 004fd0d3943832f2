"""Which rows of a tensor stand for all of it: the same ones for every model, on every machine, in every attempt."""

from __future__ import annotations

from hashlib import blake2b

Ranges = tuple[tuple[int, int], ...]
"""Rows ``[first, end)``, ascending, without overlap."""


def sample_rows(rows: int, take: int, blocks: int, key: str) -> Ranges:
    """About ``take`` of ``rows`` rows in ``blocks`` runs of neighbours, one somewhere in each equal part of the tensor.

    Stratified sampling with positions drawn from a hash of ``key``. Everything when ``take`` reaches ``rows``.
    """
    if take >= rows:
        return ((0, rows),)
    blocks = max(1, min(blocks, take))
    length = take // blocks
    found = []
    for number in range(blocks):
        first, end = rows * number // blocks, rows * (number + 1) // blocks
        room = end - first - length
        start = first + (_draw(f"{key}/{number}") % (room + 1) if room > 0 else 0)
        found.append((start, min(start + length, end)))
    return tuple(found)


def spread(count: int, most: int) -> tuple[int, ...]:
    """At most ``most`` of the indices below ``count``, evenly spread."""
    return tuple(range(count)) if count <= most else tuple(count * number // most for number in range(most))


def counted(ranges: Ranges) -> int:
    """How many rows these are."""
    return sum(end - first for first, end in ranges)


def _draw(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
