"""What may happen to a job, as one table. ``store`` writes its conditions from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Move = Literal["claim", "take_over", "release", "succeed", "fail", "stop", "withdraw", "retry"]

STATES: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
ACTIVE: tuple[State, ...] = ("queued", "running")
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")

MOVES: Mapping[Move, tuple[State, State]] = MappingProxyType(
    {
        "claim": ("queued", "running"),  # a worker starts on it
        "take_over": ("running", "running"),  # its worker died: the lease ran out, another goes on
        "release": ("running", "queued"),  # its worker shuts down and hands it back
        "succeed": ("running", "succeeded"),
        "fail": ("running", "failed"),
        "stop": ("running", "cancelled"),  # cancelled while it ran
        "withdraw": ("queued", "cancelled"),  # cancelled before it started
        "retry": ("failed", "queued"),  # somebody asks for another attempt
    }
)
"""Move -> (state before, state after). Whatever is not listed cannot happen: success and cancellation are final."""


def before(move: Move) -> State:
    return MOVES[move][0]


def after(move: Move) -> State:
    return MOVES[move][1]
