"""The stages of a job in words: done, at work, ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.jobs.models import STAGES, Job, JobEvent
from app.web.rendering import byte_size, duration

_WORDS: Mapping[str, tuple[str, str, str]] = {
    "checking": ("Check", "Checking", "Checked"),
    "downloading": ("Download", "Downloading", "Downloaded"),
    "merging": ("Merge", "Merging", "Merged"),
    "routing": ("Routers", "Making the routers", "Routers"),
    "verifying": ("Verify", "Verifying", "Verified"),
    "finalising": ("Publish", "Publishing", "Published"),
    "extracting": ("Extract", "Extracting", "Extracted"),
    "comparing": ("Compare", "Comparing", "Compared"),
    "keeping": ("Keep", "Keeping", "Kept"),
    "uploading": ("Upload", "Uploading", "Uploaded"),
}
"""What a stage is called ahead, now and done."""
COUNTED = ("downloading", "merging", "extracting", "uploading", "comparing")
"""Stages whose bytes are counted, so that a share of them is done."""


@dataclass(frozen=True, slots=True)
class StageView:
    """``state``: ``done``, ``now``, ``ahead``, ``failed`` or ``skipped``; ``about``: a time or a count, or empty."""

    word: str
    state: str
    about: str


def stage_now(stage: str | None) -> str:
    """``Merging``; what is done now, for people."""
    return _WORDS.get(stage or "", ("", "Starting", ""))[1]


def stage_views(job: Job, events: Sequence[JobEvent]) -> tuple[StageView, ...]:
    """Every stage of the job's kind, in order."""
    order = STAGES.get(job.kind, ())
    times = _times(job, events)
    reached = order.index(job.stage) if job.stage in order else -1
    views = []
    for index, name in enumerate(order):
        ahead, now, done = _WORDS[name]
        if job.state == "succeeded" or index < reached:
            views.append(StageView(done, "done", _took(times.get(name), name)))
        elif index == reached and job.state == "running":
            views.append(StageView(now, "now", counted(job)))
        elif index == reached and job.state == "failed":
            views.append(StageView(ahead, "failed", "failed here"))
        elif index == reached and job.state == "cancelled":
            views.append(StageView(ahead, "skipped", "stopped here"))
        else:
            views.append(StageView(ahead, "ahead", ""))
    return tuple(views)


def counted(job: Job) -> str:
    """``174 of 291 tensors``, or bytes where no tensors are counted."""
    if job.tensors_total and job.stage != "downloading":
        what = "modules" if job.kind == "merge-adapters" else "tensors"
        return f"{job.tensors_done:,} of {job.tensors_total:,} {what}"
    if job.bytes_total and job.stage in COUNTED:
        return f"{byte_size(job.bytes_done)} of {byte_size(job.bytes_total)}"
    return ""


def _took(seconds: float | None, name: str) -> str:
    if seconds is None:
        return "nothing to fetch" if name == "downloading" else ""
    return duration(seconds)


def _times(job: Job, events: Sequence[JobEvent]) -> dict[str, float]:
    """Seconds that each stage took when it was last gone through."""
    marks = [(event.data.get("stage", ""), event.at) for event in events if event.kind == "stage"]
    ends = [*(at for _, at in marks[1:]), job.finished_at][: len(marks)]
    return {str(name): end - at for (name, at), end in zip(marks, ends, strict=True) if end is not None and end >= at}
