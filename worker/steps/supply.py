"""Second step: the parents' bytes for the engine, from this machine, as they arrive, or in parts and never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.library.facts import Library
from app.planning.facts import ModelFacts
from app.planning.plan import Plan
from app.recipe.findings import Finding
from app.recipe.references import parse_reference
from worker.engine.sources import Place
from worker.sizes import gigabytes
from worker.steps.arriving import Arrivals, ArrivingPlace
from worker.steps.fetch import Fetching, fetch, folders, wanted_files
from worker.steps.watch import Passing, Watch

Places = tuple[Path | Place, ...]

NOT_HASHED = Finding(
    "info", "not-hashed", "", "The parents are read in parts and not stored, so their SHA-256 cannot be checked. Every "
    "part comes from the pinned commit, and the size and hash that the Hub names are compared with each answer.",
    "Merge without streaming to have every file hashed.",
)  # fmt: skip


@dataclass(frozen=True)
class Supply:
    """``places``: for each parent where the engine opens its files. ``watch``: who must look on meanwhile.
    ``folders``: waits for what is taken over unchanged, and says where each parent's folder is."""

    places: Places
    watch: Watch
    folders: Callable[[], tuple[Path, ...]]


@contextmanager
def supply(
    plan: Plan, library: Library, watch: Watch, work: Path, *, token: str | None, stream: bool
) -> Iterator[Supply]:
    """``stream``: weights on the Hub, where a parent is, are not stored. Raises Refused, or what ``watch`` raises."""
    if stream:
        with _streamed(plan, library, watch, work, token) as found:
            yield found
        return
    wanted = wanted_files(plan)
    with Fetching(plan, library, token, wanted) as fetching:
        if not fetching.size:
            here = folders(plan, wanted, library)
            yield Supply(here, watch, lambda: here)
            return
        watch.enter("downloading", f"Fetching {gigabytes(fetching.size)} of parents.", size=fetching.size)
        arrivals = Arrivals(watch, fetching)

        def place(facts: ModelFacts) -> Path | Place:
            coming = {
                name: future
                for (owner, name), future in fetching.files.items()
                if _home(plan.parents[owner]) == _home(facts)
            }
            return ArrivingPlace(library.folder(facts), coming, arrivals) if coming else library.folder(facts)

        def all_folders() -> tuple[Path, ...]:
            arrivals.wait_for_all()
            return folders(plan, wanted, library)

        try:
            yield Supply(tuple(map(place, plan.parents)), arrivals, all_folders)
        finally:
            arrivals.stop()


def _home(parent: ModelFacts) -> tuple[str, str | None]:
    """A model's place: parents with and without an adapter may share it."""
    return parse_reference(parent.ref).name, parent.commit


@contextmanager
def _streamed(plan: Plan, library: Library, watch: Watch, work: Path, token: str | None) -> Iterator[Supply]:
    from worker.steps.remote_file import StreamedPlace
    from worker.steps.stream import Streams

    here = fetch(Beside(plan), library, watch, token=token)
    hub = library.hub
    assert hub is not None  # noqa: S101  a parent has a commit
    with Streams(hub, work, watch.check) as streams:
        places = tuple(
            folder if parent.commit is None else StreamedPlace(streams, hub, parent, token)
            for parent, folder in zip(plan.parents, here, strict=True)
        )
        yield Supply(places, _Streaming(watch, streams.news, streams.stop), lambda: here)
        watch.log(f"{gigabytes(streams.fetched)} of the parents were read, and nothing of them stored.")


@dataclass(frozen=True)
class Beside:
    """What of a plan is fetched even when weights are streamed: the files that are taken over unchanged."""

    plan: Plan

    @property
    def parents(self) -> tuple[ModelFacts, ...]:
        return self.plan.parents

    @property
    def files_needed(self) -> tuple[tuple[int, str], ...]:
        local = (one for one in self.plan.files_needed if self.plan.parents[one[0]].commit is None)
        return tuple(dict.fromkeys([*local, *((one.parent, one.file) for one in self.plan.carries)]))


class _Streaming(Passing):
    """Tells of pauses on the line, and lets nobody wait for bytes once the merge is to stop."""

    def __init__(self, watch: Watch, news: Callable[[], list[str]], stop: Callable[[], None]) -> None:
        super().__init__(watch)
        self._news, self._stop = news, stop

    def check(self) -> None:
        try:
            for text in self._news():
                self.watch.log(text)
            self.watch.check()
        except BaseException:
            self._stop()
            raise
