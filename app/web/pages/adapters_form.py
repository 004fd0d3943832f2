"""The form of ``/adapters``. All of it stands in the page's address, so that it can be kept and passed on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import urlencode

from app.adapting.methods import METHODS, AdapterMethod
from app.adapting.sketch import AdapterSketch
from app.adapting.wanted import DENSITY, DTYPES, MOST_ADAPTERS, WantedMerge, read_merge
from app.library.facts import Library
from app.planning.layers import module_of
from app.planning.ledger import listed
from app.preadapt import Premerge, premerge
from app.recipe.counted import counted
from app.recipe.findings import Finding, Refused
from app.web.pages.form_desk import LONGEST, Pairs
from app.web.pages.pictures.threads import thread
from app.web.pages.typed import typed_number, typed_reference, typed_whole

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIVIDE = {"": None, "yes": True, "no": False}
_USUAL = {"method": "svd", "density": f"{DENSITY:g}", "factor": "1", "seed": "0", "dtype": DTYPES[0]}


@dataclass(frozen=True, slots=True)
class Row:
    """A chosen adapter."""

    index: int
    name: str
    weight: str

    @property
    def letter(self) -> str:
        return LETTERS[self.index]

    @property
    def colour(self) -> str:
        return thread(self.letter)


@dataclass(frozen=True)
class AdaptersForm:
    """Everything as it was typed; ``key`` makes two clicks one job. ``normalize``: a key of ``DIVIDE``."""

    names: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    method: str = "svd"
    rank: str = ""
    density: str = _USUAL["density"]
    factor: str = "1"
    normalize: str = ""
    seed: str = "0"
    dtype: str = DTYPES[0]
    key: str = ""
    problems: tuple[Finding, ...] = ()
    dtypes: ClassVar = DTYPES
    landing: ClassVar = ""

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(Row(index, *each) for index, each in enumerate(zip(self.names, self.weights, strict=True)))

    @property
    def takes_more(self) -> bool:
        return len(self.names) < MOST_ADAPTERS

    @property
    def methods(self) -> tuple[AdapterMethod, ...]:
        return tuple(METHODS.values())

    @property
    def address(self) -> str:
        """Where this form stands; what is as usual is left out."""
        each = zip(self.names, self.weights, strict=True)
        pairs = [pair for name, weight in each for pair in (("adapter", name), ("weight", weight))]
        names = ("method", "rank", "density", "factor", "normalize", "seed", "dtype")
        told = [(name, getattr(self, name)) for name in names]
        pairs += [(name, value) for name, value in told if value != _USUAL.get(name, "")]
        return "/adapters" + (f"?{urlencode(pairs)}" if pairs else "")

    def wanted(self) -> WantedMerge:
        """Fields that the method does not look at are passed over. Raises Refused."""
        method = METHODS.get(self.method)
        chosen = method is None or method.rank == "chosen"
        return read_merge(
            self.names,
            weights=[typed_number(one or "1", "weight") for one in self.weights],
            method=self.method,
            rank=typed_whole(self.rank, "rank") if self.rank and chosen else None,
            density=typed_number(self.density or _USUAL["density"], "density"),
            factor=typed_number(self.factor or "1", "factor"),
            normalize=DIVIDE.get(self.normalize),
            seed=typed_whole(self.seed or "0", "seed"),
            dtype=self.dtype,
        )


@dataclass(frozen=True)
class Look:
    """What is known before the merge; or why there can be none."""

    known: Premerge | None = None
    problems: tuple[Finding, ...] = ()
    dtypes: ClassVar = DTYPES

    @property
    def lines(self) -> tuple[tuple[str, str, str], ...]:
        """For each adapter its letter, its colour and what its header tells."""
        sketches = self.known.sketches if self.known else ()
        return tuple((LETTERS[i], thread(LETTERS[i]), about(one)) for i, one in enumerate(sketches))


def from_pairs(pairs: Pairs) -> AdaptersForm:
    """The form after its button: ``add``, ``remove:N`` or another. What cannot be done comes back as a problem."""
    single = {name: value.strip()[:LONGEST] for name, value in pairs}
    names = [value.strip()[:LONGEST] for name, value in pairs if name == "adapter" and value.strip()]
    weights = [value.strip()[:40] for name, value in pairs if name == "weight"]
    weights = [*weights, *["1"] * len(names)][: len(names)]

    def said(name: str) -> str:
        return single.get(name, "")[:40] or _USUAL.get(name, "")

    form = AdaptersForm(
        tuple(names[:MOST_ADAPTERS]), tuple(weights[:MOST_ADAPTERS]), said("method"), said("rank"), said("density"),
        said("factor"), said("normalize"), said("seed"), said("dtype"), single.get("key", "") or secrets.token_hex(12),
    )  # fmt: skip
    verb, _, argument = single.get("action", "").partition(":")
    if verb == "remove" and argument.isdecimal():
        return _without(form, int(argument))
    return _with(form, single.get("add", ""))


def from_params(params: dict[str, object]) -> AdaptersForm:
    """The form that a job was handed in with."""
    wanted = WantedMerge.of_params(params)
    how = wanted.how
    divides = how.normalize == METHODS[how.method].divides
    return AdaptersForm(
        tuple(str(one) for one in wanted.adapters),
        tuple(f"{weight:g}" for weight in how.weights),
        how.method, "" if how.rank is None else str(how.rank), f"{how.density:g}", f"{how.factor:g}",
        "" if divides else "yes" if how.normalize else "no", str(how.seed), wanted.dtype,
    )  # fmt: skip


def look(form: AdaptersForm, library: Library) -> Look:
    """Read the adapters' headers and check. Slow when they are on the Hub: call it in a thread."""
    try:
        return Look(premerge(form.wanted(), library))
    except Refused as problem:
        return Look(problems=problem.findings)


def about(one: AdapterSketch) -> str:
    """``rank 8 on 210 modules (q, k, v), made for owner/model``."""
    ranks = sorted({module.rank for module in one.modules.values()})
    rank = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    touched = listed(list(dict.fromkeys(module_of(f"{name}.weight") for name in one.modules)), most=9)
    made_for = f", made for {one.settings.base}" if one.settings.base else ""
    return f"rank {rank} on {counted(len(one.modules), 'module')} ({touched}){made_for}"


def _with(form: AdaptersForm, typed: str) -> AdaptersForm:
    if not typed:
        return form
    try:
        name = str(typed_reference(typed))
    except Refused as problem:
        return replace(form, problems=problem.findings)
    if name in form.names:
        there = Finding("error", "adapter-twice", name, f"{name} is there already.", "Change its weight instead.")
        return replace(form, problems=(there,))
    if not form.takes_more:
        full = Finding("error", "too-many", name, f"{MOST_ADAPTERS} adapters are the most.", "Remove one first.")
        return replace(form, problems=(full,))
    return replace(form, names=(*form.names, name), weights=(*form.weights, "1"))


def _without(form: AdaptersForm, index: int) -> AdaptersForm:
    kept = [each for number, each in enumerate(zip(form.names, form.weights, strict=True)) if number != index]
    return replace(form, names=tuple(name for name, _ in kept), weights=tuple(weight for _, weight in kept))
