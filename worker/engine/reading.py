"""Reading tensors of a plan outside the merge itself, those that are made on the way included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from app.planning.plan import Input, Plan
from worker.engine.backends import open_backend
from worker.engine.crew import Bench, Crew, default_threads
from worker.engine.made import Benches, MadeSource
from worker.engine.methods import METHODS
from worker.engine.opened import Sources
from worker.engine.sources import Place, Source

CHUNK = 65536
"""Elements worked on at a time."""


def reading(
    plan: Plan,
    places: Sequence[Path | Place],
    wanted: Sequence[Input],
    read: Callable[[Sequence[Source], Callable[[], None]], None],
    *,
    check: Callable[[], None],
    threads: int | None = None,
) -> None:
    """Call ``read`` with a source for each of ``wanted``, and with what it must call often: it raises to stop it.

    Where one is made on the way, ``read`` runs in a thread of its own, with ``threads`` in all helping to find out
    what methods must know first; ``check`` is called by the calling thread meanwhile, and what it raises stops all.
    Raises what ``read`` raises, and Refused as ``execute`` does.
    """
    with Sources(plan, places) as opened:
        sources = tuple(map(opened.open, wanted))
        made = [one for one in sources if isinstance(one, MadeSource)]
        if not made:
            read(sources, check)
            return
        backend = open_backend("cpu", plan, CHUNK)
        benches = Benches(backend.bench)
        with Crew(threads or default_threads(), backend.bench) as crew:

            def make(bench: Bench) -> None:
                for one in made:
                    one.prepare(METHODS.__getitem__, backend, crew, bench, benches)
                read(sources, crew.check)

            crew.run([make], check)
        opened.check_unchanged()
