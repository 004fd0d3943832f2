"""The form of ``/adapters/extract``. All of it stands in the page's address, so that it can be kept and passed on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import urlencode

from app.adapting.difference import leaf
from app.adapting.wanted import DTYPES, WantedExtract, read_extract
from app.library.facts import Library
from app.preadapt import Preextract, preextract
from app.recipe.findings import Finding, Refused
from app.web.pages.form_desk import LONGEST, Pairs
from app.web.pages.typed import typed_number, typed_reference, typed_whole

_FIELDS = ("tuned", "base", "rank", "max_error", "modules", "whole", "seed", "dtype")
_USUAL = {"rank": "16", "whole": "yes", "seed": "0", "dtype": DTYPES[0]}


@dataclass(frozen=True)
class ExtractForm:
    """Everything as it was typed; ``key`` makes two clicks one job."""

    tuned: str = ""
    base: str = ""
    rank: str = _USUAL["rank"]
    max_error: str = ""
    modules: str = ""
    whole: str = _USUAL["whole"]
    seed: str = _USUAL["seed"]
    dtype: str = DTYPES[0]
    key: str = ""
    problems: tuple[Finding, ...] = ()
    dtypes: ClassVar = DTYPES
    landing: ClassVar = ""

    @property
    def complete(self) -> bool:
        return bool(self.tuned and self.base)

    @property
    def address(self) -> str:
        """Where this form stands; what is as usual is left out."""
        told = [(name, getattr(self, name)) for name in _FIELDS]
        pairs = [(name, value) for name, value in told if value != _USUAL.get(name, "")]
        return "/adapters/extract" + (f"?{urlencode(pairs)}" if pairs else "")

    def with_base(self, base: str) -> ExtractForm:
        return replace(self, base=base)

    def wanted(self) -> WantedExtract:
        """Raises Refused."""
        return read_extract(
            self.tuned,
            self.base,
            rank=typed_whole(self.rank or _USUAL["rank"], "rank"),
            max_error=typed_number(self.max_error, "max_error") if self.max_error else None,
            seed=typed_whole(self.seed or _USUAL["seed"], "seed"),
            dtype=self.dtype,
            modules=self.modules.replace(",", " ").split(),
            whole=self.whole != "no",
        )


@dataclass(frozen=True)
class ExtractLook:
    """What is known before the extraction; or why there can be none. ``bases``: what the fine-tune's card names, where
    no base is named yet."""

    known: Preextract | None = None
    bases: tuple[str, ...] = ()
    problems: tuple[Finding, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The names that linear layers end in."""
        return tuple(dict.fromkeys(leaf(one) for one in self.known.difference.linear)) if self.known else ()


def from_pairs(pairs: Pairs) -> ExtractForm:
    """The form after a button. A name that cannot be one comes back as a problem."""
    said = {name: value.strip()[:LONGEST] for name, value in pairs if name in (*_FIELDS, "key")}
    told: dict[str, Any] = {name: said.get(name, "") or _USUAL.get(name, "") for name in _FIELDS}
    problems: list[Finding] = []
    for name in ("tuned", "base"):
        try:
            told[name] = str(typed_reference(told[name])) if told[name] else ""
        except Refused as refused:
            problems += refused.findings
    return ExtractForm(**told, key=said.get("key", "") or secrets.token_hex(12), problems=tuple(problems))


def from_params(params: dict[str, object]) -> ExtractForm:
    """The form that a job was handed in with."""
    wanted = WantedExtract.of_params(params)
    wish = wanted.wish
    return ExtractForm(
        str(wanted.tuned), str(wanted.base), str(wish.rank), "" if wish.max_error is None else f"{wish.max_error:g}",
        ", ".join(wish.modules), "yes" if wish.whole else "no", str(wish.seed), wish.dtype,
    )  # fmt: skip


def look(form: ExtractForm, library: Library) -> ExtractLook:
    """Read the models' headers and check. Slow when they are on the Hub: call it in a thread."""
    try:
        if form.tuned and not form.base:
            return ExtractLook(bases=library.facts(typed_reference(form.tuned)).base_models[:5])
        return ExtractLook(preextract(form.wanted(), library))
    except Refused as problem:
        return ExtractLook(problems=problem.findings)
