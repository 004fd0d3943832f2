"""Every move from every state, on the real table: what the diagram allows happens, everything else changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from app.db import Sessions
from app.jobs.claim import Claim, LeaseLost
from app.jobs.models import Job
from app.jobs.states import MOVES, STATES
from app.jobs.store import NewJob, Store
from app.recipe.findings import Finding
from tests.jobs.conftest import Clock

# Written down by hand, apart from the table under test.
ALLOWED = {
    ("queued", "claim"): "running",
    ("running", "take_over"): "running",
    ("running", "release"): "queued",
    ("running", "succeed"): "succeeded",
    ("running", "fail"): "failed",
    ("running", "stop"): "cancelled",
    ("queued", "withdraw"): "cancelled",
    ("failed", "retry"): "queued",
}
WRONG = Finding("error", "broken", "", "It broke.")


def quietly(call: Callable[[], object]) -> None:
    try:
        call()
    except LeaseLost:
        return


def moves(database: Sessions, store: Store, clock: Clock, claim: Claim) -> dict[str, Callable[[], object]]:
    def take() -> object:
        return Claim.take(database, claim.job.id, worker="other", pid=2, lease=60, clock=clock)

    def take_after_the_lease() -> object:
        clock.now += 1000
        return take()

    return {
        "claim": take,
        "take_over": take_after_the_lease,
        "release": claim.release,
        "succeed": lambda: claim.succeed({}),
        "fail": lambda: claim.fail([WRONG]),
        "stop": claim.stop,
        "withdraw": lambda: store.request_cancel(claim.job.id),
        "retry": lambda: store.retry(claim.job.id),
    }


def test_the_table_names_every_move_once() -> None:
    assert {(start, move): end for move, (start, end) in MOVES.items()} == ALLOWED


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("move", sorted({move for _, move in ALLOWED}))
def test_moves(database: Sessions, store: Store, clock: Clock, state: str, move: str) -> None:
    job, _ = store.submit(NewJob("merge", recipe="x"))
    claim = Claim.take(database, job.id, worker="me", pid=1, lease=60, clock=clock)
    assert claim is not None
    with database.begin() as session:
        session.execute(update(Job).where(Job.id == job.id).values(state=state))

    quietly(moves(database, store, clock, claim)[move])

    now = store.get(job.id)
    assert now is not None
    if (state, move) == ("queued", "take_over"):  # a queued job is claimed, whatever its lease
        assert now.state == "running"
    else:
        assert now.state == ALLOWED.get((state, move), state)
    if (state, move) == ("running", "withdraw"):  # a running job is asked to stop
        assert now.cancel_requested_at == clock.now
    if (state, move) in {("queued", "claim"), ("running", "take_over")}:
        assert now.worker == "other"
