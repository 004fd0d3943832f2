"""Rows of many models side by side, read ahead while others are measured: from folders, the cache, or the Hub."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from app.comparing.meeting import Meeting, Met
from app.comparing.sampling import Ranges
from app.library.headers import ModelFiles, Piece
from app.planning.facts import DTYPE_BYTES, TensorFacts
from app.recipe.findings import refuse
from worker.engine.dtypes import Array, decode

BLOCK = 1 << 20
"""Weights of one tensor and model that are measured at a time, when everything is."""
AHEAD = 8
"""Requests for a tensor's rows under way at once: on the Hub each takes a tenth of a second, whatever its size."""
AHEAD_FULL = 2
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Portion:
    """Weights to be read together: elements ``[first, end)`` of one tensor in every model. ``for_rank``: to take the
    effective rank of, not to be measured; in a sample the same weights serve both, ``both``."""

    met: Met
    ranges: Ranges
    for_rank: bool = False
    both: bool = False
    last: bool = False


def portions(meeting: Meeting) -> Iterator[Portion]:
    """Everything that has to be read, tensor by tensor; ``last`` marks a tensor's last portion."""
    for met in meeting.tensors:
        if not meeting.full:
            yield Portion(met, _elements(met, met.rows), both=bool(met.rank_rows), last=True)
            continue
        if met.rank_rows and meeting.with_base:
            yield Portion(met, _elements(met, met.rank_rows), for_rank=True)
        for start in range(0, met.elements, BLOCK):
            end = min(start + BLOCK, met.elements)
            yield Portion(met, ((start, end),), last=end == met.elements)


def read_ahead(
    meeting: Meeting, sources: Sequence[ModelFiles], check: Callable[[], None]
) -> Iterator[tuple[Portion, Array]]:
    """Every portion with its weights, fp64 [models, then the base; elements].

    ``check`` is called at least five times a second and may raise. Raises Refused for a file that has become shorter,
    or what the sources raise.
    """
    ahead = AHEAD_FULL if meeting.full else AHEAD
    waiting: deque[tuple[Portion, Future[Array]]] = deque()
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="compare")
    try:
        for portion in portions(meeting):
            waiting.append((portion, pool.submit(_read, portion, sources, meeting)))
            if len(waiting) >= ahead:
                yield _first(waiting, check)
        while waiting:
            yield _first(waiting, check)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who stops need not wait for what the network still owes


def _first(waiting: deque[tuple[Portion, Future[Array]]], check: Callable[[], None]) -> tuple[Portion, Array]:
    portion, future = waiting[0]
    check()
    while not wait([future], timeout=LOOK_SECONDS).done:
        check()
    waiting.popleft()
    return portion, future.result()


def _read(portion: Portion, sources: Sequence[ModelFiles], meeting: Meeting) -> Array:
    parts = zip(sources, portion.met.parts, meeting.facts, strict=True)
    return np.stack([_weights(source, part, portion.ranges, facts.ref) for source, part, facts in parts])


def _weights(source: ModelFiles, part: TensorFacts, ranges: Ranges, label: str) -> Array:
    size = DTYPE_BYTES[part.dtype]
    pieces = [Piece(part.file, part.begin + first * size, part.begin + end * size) for first, end in ranges]
    read = source.read(pieces)
    if any(len(raw) != piece.end - piece.begin for raw, piece in zip(read, pieces, strict=True)):
        raise refuse(
            "parent-changed", label, f"The file {part.file} of {label} has been cut short.",
            "Restore or fetch the model again, and start once more.",
        )  # fmt: skip
    return decode(np.frombuffer(b"".join(read), np.uint8), part.dtype).astype(np.float64)


def _elements(met: Met, rows: Iterable[tuple[int, int]]) -> Ranges:
    return tuple((first * met.columns, end * met.columns) for first, end in rows)
