"""All that a job's page shows, out of its row, its history and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs.models import Job, JobEvent
from app.jobs.store import RETRIED
from app.library.local import result_reference
from app.recipe.catalogue import METHODS
from app.recipe.findings import Changed, Finding
from app.recipe.reading import read_recipe
from app.recipe.references import is_hub_id
from app.storage.base import ArtifactFile
from app.web.pages import adapters_form, extract_form
from app.web.pages.job_parents import JobParent, job_parents, mixture_of
from app.web.pages.job_stages import COUNTED, StageView, stage_now, stage_views
from app.web.pages.pictures import mixture as mixture_picture
from app.web.pages.pictures import sparkline
from app.web.rendering import byte_size, duration, percent

_STATE_WORDS = {
    "queued": ("queued", "idle"),
    "running": ("running", "live"),
    "succeeded": ("finished", "good"),
    "failed": ("failed", "bad"),
    "cancelled": ("cancelled", "warn"),
}
_LEVELS = {"failed": "error", "cancelled": "warning"}


@dataclass(frozen=True, slots=True)
class Tile:
    value: str
    label: str


@dataclass(frozen=True, slots=True)
class LogLine:
    id: int
    at: float
    text: str
    level: str


@dataclass(frozen=True)
class JobPage:
    """The context ``view`` of ``pages/job.html`` and its partials.

    ``big`` is the one large figure or word, ``bar`` the share done from 0 to 1000 or None while nothing is counted,
    ``last_line`` the number of the newest log line shown, from which the live stream goes on. ``base``: the model that
    a finished adapter was made for; ``told``: sentences on it.
    """

    job: Job
    method: str
    state_word: str
    state_kind: str
    stages: tuple[StageView, ...]
    big: str
    bar: int | None
    tiles: tuple[Tile, ...]
    spark: sparkline.Sparkline | None
    log: tuple[LogLine, ...]
    parents: tuple[JobParent, ...]
    errors: tuple[Finding, ...]
    files: tuple[ArtifactFile, ...]
    config_changes: tuple[Changed, ...] = ()
    uploads: tuple[Job, ...] = ()
    source: Job | None = None
    position: int = 0
    workers: int = 0
    base: str = ""
    told: tuple[str, ...] = ()

    @property
    def last_line(self) -> int:
        return self.log[-1].id if self.log else 0

    @property
    def ended(self) -> bool:
        return self.job.ended

    @property
    def stopping(self) -> bool:
        """Asked to stop, and not yet stopped."""
        return self.job.cancel_requested_at is not None and not self.job.ended

    @property
    def is_merge(self) -> bool:
        return self.job.kind == "merge"

    @property
    def has_recipe(self) -> bool:
        return self.job.kind in ("merge", "mixture")

    @property
    def mixture(self) -> mixture_picture.MixturePicture | None:
        """What of a mixture of experts comes from where; None for all else."""
        wanted = mixture_of(self.job)
        return mixture_picture.draw(wanted) if wanted else None

    @property
    def adapts(self) -> str | None:
        """For an adapter the model that it was made for, empty when that is not known. None for all else."""
        return self.base if self.job.makes_adapter else None

    @property
    def as_parent(self) -> str:
        """What it made, as a parent of a merge: for an adapter on its base, if that is known. Empty when it is not."""
        made = result_reference(self.job.id)
        if not self.job.makes_adapter:
            return made
        base = str(self.job.params.get("base") or "") or (self.base if is_hub_id(self.base) else "")
        return f"{base}+{made}" if base and "+" not in base else ""

    @property
    def as_adapter(self) -> str:
        """What it made, as an adapter to merge; empty when it is none."""
        return result_reference(self.job.id) if self.job.makes_adapter else ""

    @property
    def form_address(self) -> str:
        """The form that it was handed in with; empty for what has none."""
        if self.job.kind == "merge-adapters":
            return adapters_form.from_params(self.job.params).address
        if self.job.kind == "mixture":
            return f"/mixtures?job={self.job.id}"
        return extract_form.from_params(self.job.params).address if self.job.kind == "extract-lora" else ""

    @property
    def can_retry(self) -> bool:
        return self.job.kind in RETRIED and self.job.state == "failed"

    @property
    def place_in_line(self) -> str:
        return {0: "", 1: "Next in line", 2: "2nd in line", 3: "3rd in line"}.get(
            self.position, f"{self.position}th in line"
        )

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def job_page(
    job: Job,
    events: Sequence[JobEvent],
    *,
    rates: Sequence[float] = (),
    shards: int = 0,
    files: Sequence[ArtifactFile] = (),
    config_changes: Sequence[Changed] = (),
    uploads: Sequence[Job] = (),
    source: Job | None = None,
    position: int = 0,
    workers: int = 0,
    base: str = "",
    told: Sequence[str] = (),
) -> JobPage:
    """``events``: the whole history; ``rates``: bytes a second, oldest first; ``shards``: files safe on disk."""
    words, kind = _STATE_WORDS[job.state]
    return JobPage(
        job=job,
        method=kind_words(job),
        state_word=words,
        state_kind=kind,
        stages=stage_views(job, events),
        big=_big(job),
        bar=_bar(job),
        tiles=_tiles(job, shards),
        spark=sparkline.draw(rates),
        log=tuple(log_line(one) for one in events),
        parents=job_parents(job),
        errors=tuple(_finding(one) for one in job.error or ()),
        files=tuple(files),
        config_changes=tuple(config_changes),
        uploads=tuple(uploads),
        source=source,
        position=position,
        workers=workers,
        base=base,
        told=tuple(told),
    )


def log_line(event: JobEvent) -> LogLine:
    return LogLine(event.id, event.at, event.text, line_level(event.kind, event.text, event.data.get("state", "")))


def line_level(kind: str, text: str, state: str) -> str:
    """The colour of a line: a finding's level, or how the job ended."""
    if kind == "done":
        return _LEVELS.get(state, "")
    level = text.partition(":")[0]
    return level if level in ("warning", "error") else ""


def method_name(job: Job) -> str:
    """``TIES``; an empty string for what is no merge."""
    recipe = read_recipe(job.recipe).draft if job.recipe else None
    method = METHODS.get(recipe.merge_method) if recipe else None
    return method.title if method else ""


def kind_words(job: Job) -> str:
    """What sort of job it is: for a merge its method."""
    if job.kind == "merge":
        return method_name(job)
    words = {
        "compare": "Comparison of weights",
        "merge-adapters": "Merge of adapters",
        "extract-lora": "LoRA extracted",
        "mixture": "Mixture of experts",
    }
    return words.get(job.kind, "Upload to the Hub")


def _finding(told: dict[str, str]) -> Finding:
    level = told.get("level")
    return Finding(
        level if level in ("warning", "info") else "error",  # type: ignore[arg-type]
        told.get("code", ""), told.get("where", ""), told.get("text", "Something went wrong."), told.get("fix", ""),
    )  # fmt: skip


def _big(job: Job) -> str:
    if job.state == "running":
        counts = job.stage in COUNTED and job.bytes_total
        return percent(job.bytes_done / job.bytes_total) if counts else stage_now(job.stage)
    if job.state == "succeeded":
        return "Done"
    return {"queued": "Waiting", "failed": "Failed", "cancelled": "Cancelled"}[job.state]


def _bar(job: Job) -> int | None:
    if job.state == "succeeded":
        return 1000
    if job.state == "queued":
        return 0
    if job.stage in COUNTED and job.bytes_total:
        return round(1000 * min(1.0, job.bytes_done / job.bytes_total))
    return 1000 if job.stage in ("verifying", "finalising") else 0 if job.ended else None


def _tiles(job: Job, shards: int) -> tuple[Tile, ...]:
    if job.state == "queued" and not job.started_at:
        return ()
    otherwise = "read" if job.kind in ("compare", "extract-lora") else "written"
    verb = {"downloading": "fetched", "uploading": "sent"}.get(job.stage or "", otherwise)
    total = f"of {byte_size(job.bytes_total)} {verb}" if job.bytes_total else verb
    last = Tile(f"{shards} of {job.shards_total}" if job.shards_total else str(shards), "shards safe on disk")
    tiles = [
        Tile(byte_size(job.bytes_done), total),
        Tile(f"{byte_size(job.rate)}/s" if job.rate else "–", "throughput"),
        Tile(byte_size(job.memory_peak) if job.memory_peak else "–", "peak memory"),
    ]
    if job.kind in ("merge", "mixture"):
        tiles.append(last)
    if job.ended and job.started_at and job.finished_at:
        tiles[1] = Tile(duration(job.finished_at - job.started_at), "in all")
    return tuple(tiles)
