"""The models that went into a job, in the colours of their threads."""

from __future__ import annotations

from dataclasses import dataclass

from app.experts.wanted import WantedMixture, read_mixture
from app.jobs.models import Job
from app.recipe.findings import Refused
from app.recipe.form import view
from app.recipe.reading import read_recipe
from app.recipe.references import parse_reference
from app.web.pages import adapters_form
from app.web.pages.pictures.mixture import letters
from app.web.pages.pictures.threads import thread


@dataclass(frozen=True, slots=True)
class JobParent:
    letter: str
    colour: str
    name: str
    commit: str


def job_parents(job: Job) -> tuple[JobParent, ...]:
    """The parents with the colours they had in the builder, and the commits they were pinned to."""
    if job.makes_adapter:
        refs = [parse_reference(one) for one in job.parents]
        known = ("A", "") if job.kind == "extract-lora" else adapters_form.LETTERS
        each = zip(known, refs, strict=False)
        return tuple(JobParent(letter, thread(letter), ref.unversioned, ref.revision or "") for letter, ref in each)
    if mixed := mixture_of(job):
        lettered = letters(mixed).items()
        return tuple(JobParent(letter, thread(letter), ref.unversioned, ref.revision or "") for ref, letter in lettered)
    recipe = read_recipe(job.pinned or job.recipe).draft
    if recipe is None:
        return ()
    return tuple(
        JobParent(one.letter, thread(one.letter), one.model.unversioned, one.model.revision or "")
        for one in view(recipe).parents
    )


def mixture_of(job: Job) -> WantedMixture | None:
    """What a job of that kind was asked to make."""
    try:
        return read_mixture(job.pinned or job.recipe) if job.kind == "mixture" else None
    except Refused:
        return None
