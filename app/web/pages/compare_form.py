"""The form of ``/compare``: the models chosen so far, which of them is the base, and what comparing them would cost."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from app.comparing.meeting import MOST_MODELS, Meeting, meet
from app.comparing.wanted import TOP, Wanted, read_wanted
from app.library.facts import Library
from app.planning.rates import DOWNLOAD_RATE
from app.precompare import precompare
from app.recipe.findings import Finding, Refused
from app.recipe.form import THREADS
from app.recipe.numbers import with_points
from app.web.pages.draft import Draft
from app.web.pages.pictures.threads import thread
from app.web.pages.posted import Fields
from app.web.pages.typed import typed_reference

_SAMPLE_SECONDS = 2.0
_NANOSECONDS = 40
"""For one weight of one model when everything is compared, as measured on one core."""


@dataclass(frozen=True, slots=True)
class Row:
    """A chosen model. ``letter`` is empty for the base."""

    index: int
    name: str
    letter: str
    colour: str


@dataclass(frozen=True)
class CompareForm:
    """``names``: the models as typed; ``base``: the index of one of them, or None. ``recipe``: the YAML that came along
    from the builder; ``key`` makes two clicks one job. ``typed``: what could not be added, to be put right;
    ``adding``: whether the next thing to do is to add a model, for the keyboard."""

    names: tuple[str, ...] = ()
    base: int | None = None
    full: bool = False
    top: str = f"{100 * TOP:g}"
    recipe: str = ""
    key: str = ""
    problems: tuple[Finding, ...] = ()
    typed: str = ""
    adding: bool = False

    @property
    def rows(self) -> tuple[Row, ...]:
        letters = iter(THREADS)
        listed = [(index, name, "" if index == self.base else next(letters)) for index, name in enumerate(self.names)]
        return tuple(Row(index, name, letter, thread(letter)) for index, name, letter in listed)

    @property
    def complete(self) -> bool:
        return len(self.names) > 1

    @property
    def takes_more(self) -> bool:
        return len(self.names) < MOST_MODELS + 1

    @property
    def cost_address(self) -> str:
        others = [("model", name) for index, name in enumerate(self.names) if index != self.base]
        base = [("base", self.names[self.base])] if self.base is not None else []
        return f"/compare/cost?{urlencode([*others, *base])}"

    def wanted(self) -> Wanted:
        """Raises Refused."""
        models = [name for index, name in enumerate(self.names) if index != self.base]
        try:
            top = float(with_points(self.top.replace("%", "").strip())) / 100
        except ValueError:
            top = 0.0
        return read_wanted(models, None if self.base is None else self.names[self.base], full=self.full, top=top)


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes to read and to fetch, and seconds, for a sample and for everything; or why there are none.

    ``download_rate``: bytes a second.
    """

    sample: Meeting | None = None
    full: Meeting | None = None
    download_rate: float = DOWNLOAD_RATE
    problems: tuple[Finding, ...] = ()

    @property
    def sample_seconds(self) -> float:
        return _SAMPLE_SECONDS + self.sample.download_bytes / self.download_rate * 2 if self.sample else 0.0

    @property
    def full_seconds(self) -> float:
        if self.full is None:
            return 0.0
        weights = sum(met.elements * len(met.parts) for met in self.full.tensors)
        return 1 + weights * _NANOSECONDS * 1e-9 + self.full.download_bytes / self.download_rate


def from_models(models: Sequence[str], base: str) -> CompareForm:
    names = tuple(dict.fromkeys([*([base] if base else []), *models]))
    return CompareForm(names, 0 if base else None, key=secrets.token_hex(12))


def from_recipe(draft: Draft) -> CompareForm:
    """The parents and the base of a recipe, which suggestions are then made for."""
    if draft.recipe is None:
        return replace(from_models([], ""), problems=draft.findings)
    base = draft.recipe.base_model
    names = [str(one) for one in draft.recipe.parents() if one != base]
    return replace(from_models(names, str(base) if base else ""), recipe=draft.text)


def from_posted(fields: Fields) -> CompareForm:
    """The form after its button: ``add``, ``remove:N``, ``compare``. What cannot be done comes back as a problem."""
    indices = sorted(int(name[6:]) for name in fields if name.startswith("model.") and name[6:].isdigit())
    base = fields.get("base", "")
    form = CompareForm(
        tuple(fields[f"model.{index}"] for index in indices),
        indices.index(int(base)) if base.isdigit() and int(base) in indices else None,
        fields.get("mode") == "full",
        fields.get("top", f"{100 * TOP:g}")[:10],
        fields.get("recipe", ""),
        fields.get("key", "") or secrets.token_hex(12),
    )
    verb, _, argument = fields.get("action", "").partition(":")
    if verb == "remove" and argument.isdigit():
        return _without(form, int(argument))
    return _with(form, fields.get("add", "").strip())


def costs(form: CompareForm, library: Library, download_rate: float) -> Cost:
    """Read the models' headers and count. Slow when they are on the Hub: call it in a thread."""
    try:
        looked = precompare(form.wanted(), library)
        models = looked.meeting.facts[: looked.meeting.models]
        base = looked.meeting.facts[-1] if looked.meeting.with_base else None
        return Cost(looked.meeting, meet(models, base, full=True), download_rate)
    except Refused as problem:
        return Cost(problems=problem.findings)


def _with(form: CompareForm, typed: str) -> CompareForm:
    if not typed:
        return form
    try:
        name = str(typed_reference(typed))
    except Refused as problem:
        return replace(form, problems=problem.findings, typed=typed, adding=True)
    if name in form.names:
        there = Finding("error", "model-twice", name, f"{name} is there already.", "Pick another model.")
        return replace(form, problems=(there,), adding=True)
    return replace(form, names=(*form.names, name), adding=True)


def _without(form: CompareForm, index: int) -> CompareForm:
    names = tuple(name for number, name in enumerate(form.names) if number != index)
    base = form.base
    if base is not None:
        base = None if base == index else base - (base > index)
    return replace(form, names=names, base=base)
