"""All that the page of a comparison shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from app.comparing.comparison import Comparison, Place, read_subject, subject_key
from app.comparing.measures import Measure, Subject, subjects, value
from app.comparing.meeting import TENSORS_IN_A_CELL, LeftOut
from app.comparing.suggestions import Suggestion
from app.comparing.sums import TensorSums
from app.comparing.telling import told
from app.jobs.models import Job
from app.recipe.counted import counted
from app.recipe.writing import write_recipe
from app.web.pages.pictures.heatmap import HeatMap, draw, place_key, place_name, read_place
from app.web.pages.pictures.threads import thread

MOST_TABLES = 8
"""Tensors of one cell that are shown; the others are in the CSV."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A link that changes what is shown."""

    text: str
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Parent:
    letter: str
    colour: str
    name: str
    commit: str
    change: str
    """The size of its change, in words; empty without a base."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A table: one line a measure, one column a subject. ``about`` says of what."""

    name: str
    about: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class CellView:
    title: str
    columns: tuple[str, ...]
    tables: tuple[Numbers, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class Advice:
    """A suggestion; ``yaml`` is the changed recipe, empty where there is nothing to press."""

    text: str
    action: str
    yaml: str


@dataclass(frozen=True)
class ComparisonPage:
    """The context ``view`` of ``pages/comparison.html``. ``here`` is the address of what is shown but for its cell."""

    job: Job
    parents: tuple[Parent, ...]
    measures: tuple[Choice, ...]
    subjects: tuple[Choice, ...]
    measure: Measure
    overall: str
    about: str
    picture: HeatMap
    here: str
    svg: str
    cell: CellView | None
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def form_address(self) -> str:
        """The form with the same models in it."""
        models = [("model", one.name) for one in self.parents if one.letter]
        return "/compare?" + urlencode([*models, *(("base", one.name) for one in self.parents if not one.letter)])

    @property
    def has_blanks(self) -> bool:
        """Whether there are cells without a number, for the eye: nothing changed there."""
        return any(one.key and not one.colour for row in self.picture.rows for one in row.cells)


def comparison_page(
    job: Job, comparison: Comparison, found: Sequence[Suggestion], *, measure: str = "", of: str = "", at: str = ""
) -> ComparisonPage:
    """``measure``, ``of`` and ``at`` as the address has them; anything unknown means the first there is, or no cell."""
    chosen = next((one for one in comparison.measures if one.name == measure), comparison.measures[0])
    among = subjects(chosen, len(comparison.models))
    subject = read_subject(of, among)
    picked = read_place(at, tuple(comparison.cells))
    home = f"/compare/{job.id}?"
    here = home + urlencode({"measure": chosen.name, "of": subject_key(subject)})
    kept = {"at": place_key(picked)} if picked else {}
    return ComparisonPage(
        job=job,
        parents=tuple(_parents(comparison)),
        measures=tuple(
            Choice(one.title, home + urlencode({"measure": one.name, "of": of, **kept}), one == chosen)
            for one in comparison.measures
        ),
        subjects=tuple(Choice(_name(one), _to(home, chosen, one, kept), one == subject) for one in among),
        measure=chosen,
        overall=told(chosen, comparison.overall(chosen.name, subject)),
        about=about(comparison, chosen, subject),
        picture=draw(comparison, chosen, subject, picked),
        here=here,
        svg=f"/api/compare/{job.id}/map.svg?" + urlencode({"measure": chosen.name, "of": subject_key(subject)}),
        cell=_cell(comparison, picked) if picked else None,
        advice=tuple(Advice(one.text, one.action, write_recipe(one.recipe) if one.recipe else "") for one in found),
        notes=tuple(_notes(comparison)),
        left_out=comparison.left_out,
    )


def _to(home: str, measure: Measure, subject: Subject, kept: Mapping[str, str]) -> str:
    return home + urlencode({"measure": measure.name, "of": subject_key(subject), **kept})


def about(comparison: Comparison, measure: Measure, subject: Subject) -> str:
    """``Opposite signs, A and B``."""
    return f"{measure.title}, {_whom(comparison, subject)}"


def _whom(comparison: Comparison, subject: Subject) -> str:
    names = [comparison.models[one].partition("@")[0].rsplit("/", 1)[-1] for one in subject]
    return " and ".join(names) or "all together"


def _name(subject: Subject) -> str:
    return subject_key(subject).replace("-", " – ") if subject else "All together"


def _parents(comparison: Comparison) -> list[Parent]:
    size = next((one for one in comparison.measures if one.name == "delta_norm"), None)
    found = []
    for number, ref in enumerate(comparison.models):
        name, _, commit = ref.partition("@")
        letter = comparison.letter(number)
        change = told(size, comparison.overall(size.name, (number,))) if size else ""
        found.append(Parent(letter, thread(letter), name, commit, change))
    if comparison.base is not None:
        name, _, commit = comparison.base.partition("@")
        found.append(Parent("", thread(""), name, commit, ""))
    return found


def _cell(comparison: Comparison, place: Place) -> CellView:
    """The numbers of its tensors. With two models the pair says it all: there is no column of all together."""
    inside = comparison.cells[place]
    every = [one for one in comparison.subjects if one or len(comparison.models) > 2]
    tables = [_numbers(comparison, every, (one,), one.name, _about(one)) for one in inside[:MOST_TABLES]]
    if len(inside) > 1:
        tables.insert(0, _numbers(comparison, every, inside, "Together", counted(len(inside), "tensor")))
    title = place_name(place)
    hidden = max(0, len(inside) - MOST_TABLES)
    return CellView(title[0].upper() + title[1:], tuple(_name(one) for one in every), tuple(tables), hidden)


def _numbers(
    comparison: Comparison, every: Sequence[Subject], tensors: Sequence[TensorSums], name: str, about: str
) -> Numbers:
    lines = []
    for measure in comparison.measures:
        known = subjects(measure, len(comparison.models))
        values = [told(measure, value(measure.name, tensors, one)) if one in known else "" for one in every]
        lines.append((measure.title, tuple(values)))
    return Numbers(name, about, tuple(lines))


def _about(one: TensorSums) -> str:
    shape = " × ".join(map(str, one.shape)) or "a single number"
    told_of = shape if one.measured == one.elements else f"{shape}, {one.measured:,} of {one.elements:,} weights read"
    return f"{told_of}; rank of at most {one.rank_most}" if one.rank_most else told_of


def _notes(comparison: Comparison) -> list[str]:
    top = f"{100 * comparison.top:g} %"
    notes = []
    if comparison.full:
        notes.append("Every weight was read. Effective ranks of large matrices are of evenly spread rows.")
    else:
        notes.append(
            "On a sample: some rows of each tensor, the same in every model, scaled to the whole; where a cell has "
            f"many tensors, as with experts, {TENSORS_IN_A_CELL} stand for all. An effective rank is that of the "
            "sampled rows: it cannot exceed their number."
        )
    if comparison.base is None:
        notes.append("No base was named, so only the weights are compared. With it, Compare again also tells what each "
                     "model learnt: directions, signs and sizes of the changes.")  # fmt: skip
    elif len(comparison.models) > 1:
        notes.append(f"Largest changes: the largest {top} of each model's, so {top} overlap is what chance gives.")
    if comparison.left_out_count:
        count = comparison.left_out_count
        notes.append(f"{counted(count, 'tensor')} could not be compared.")
    return notes
