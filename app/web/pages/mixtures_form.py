"""The form of ``/mixtures``. Its address holds all of it as long as the prompts are short enough for one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import urlencode

from app.experts.reading import MOST_EXPERTS
from app.experts.wanted import ARCHITECTURES, DTYPES, GATE_MODES, PROMPTED, Expert, WantedMixture, read_mixture
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.safe_yaml import MAX_BYTES
from app.web.pages.expert_rows import EMPTY, ExpertRow, filled_rows, row_of
from app.web.pages.form_desk import LONGEST, Pairs
from app.web.pages.pictures.mixture import LETTERS
from app.web.pages.pictures.threads import thread
from app.web.pages.typed import typed_reference, typed_whole

LONGEST_ADDRESS = 7000
"""Letters of an address that browsers, servers and chats carry without cutting it."""
TITLES: Mapping[str, str] = {
    "hidden": "Hidden states",
    "hidden_avg": "Hidden states, averaged",
    "cheap_embed": "Token embeddings",
    "random": "Normal noise",
    "uniform_random": "Uniform noise",
}
_SAME = {"hidden_last": "hidden"}
_USUAL = {"gate_mode": "hidden", "per_token": "2", "dtype": "bfloat16", "seed": "0"}
_FIELDS = ("base", "gate_mode", "per_token", "dtype", "architecture", "seed", "stream")


@dataclass(frozen=True, slots=True)
class GateMode:
    """A way to make routers. ``drawn``: at random, so that it needs no prompts."""

    name: str
    title: str
    sentence: str
    drawn: bool


MODES = tuple(GateMode(name, title, GATE_MODES[name], name not in PROMPTED) for name, title in TITLES.items())


@dataclass(frozen=True)
class MixtureForm:
    """Everything as it was typed; ``key`` makes two clicks one job. ``brought``: a recipe that could not be
    read; ``landing``: the expert that a button was about, as ``#id``."""

    base: str = ""
    gate_mode: str = _USUAL["gate_mode"]
    per_token: str = _USUAL["per_token"]
    dtype: str = _USUAL["dtype"]
    architecture: str = ""
    seed: str = _USUAL["seed"]
    stream: str = ""
    experts: tuple[ExpertRow, ...] = ()
    shared: ExpertRow = EMPTY
    key: str = ""
    brought: str = ""
    landing: str = ""
    problems: tuple[Finding, ...] = ()
    modes: ClassVar = MODES
    dtypes: ClassVar = DTYPES
    architectures: ClassVar = ARCHITECTURES

    @property
    def complete(self) -> bool:
        """Whether there is enough to be checked."""
        return bool(self.base) and len(self.experts) > 1

    @property
    def begun(self) -> bool:
        return bool(self.base or self.experts)

    @property
    def takes_more(self) -> bool:
        return len(self.experts) < MOST_EXPERTS

    @property
    def address(self) -> str:
        """Where this form stands; what is as usual is left out. Empty when the prompts are too long for an address."""
        told = [(name, getattr(self, name)) for name in _FIELDS]
        pairs = [(name, value) for name, value in told if value != _USUAL.get(name, "")]
        pairs += [pair for one in self.experts for pair in one.pairs("")]
        pairs += self.shared.pairs("shared_") if self.shared.name else []
        address = "/mixtures" + (f"?{urlencode(pairs)}" if pairs else "")
        return address if len(address) <= LONGEST_ADDRESS else ""

    def colour(self, row: ExpertRow) -> str:
        """The thread of an expert's model: the same that it has in the picture."""
        others = [one for one in dict.fromkeys(each.name for each in (*self.experts, self.shared)) if one != self.base]
        return thread("" if row.name == self.base else LETTERS[others.index(row.name) % len(LETTERS)])

    def wanted(self) -> WantedMixture:
        """Raises Refused with everything that is wrong."""
        told: dict[str, Any] = {
            "base_model": str(typed_reference(self.base)) if self.base else "",
            "gate_mode": self.gate_mode,
            "dtype": self.dtype,
            "experts_per_token": typed_whole(self.per_token, "experts_per_token"),
            "seed": typed_whole(self.seed, "seed"),
            "experts": [one.as_params() for one in self.experts],
        }
        if self.architecture:
            told["architecture"] = self.architecture
        if self.shared.name:
            told["shared_experts"] = [self.shared.as_params()]
        return WantedMixture.of_params(told)


def from_pairs(pairs: Pairs) -> MixtureForm:
    """The form after its button: ``add``, ``up:N``, ``down:N``, ``remove:N``, ``import`` or another. What cannot be
    done comes back as a problem."""
    said = dict(pairs)
    told: dict[str, Any] = {name: said.get(name, "").strip()[:LONGEST] or _USUAL.get(name, "") for name in _FIELDS}
    told["gate_mode"] = _SAME.get(told["gate_mode"], told["gate_mode"])
    rows = filled_rows(pairs, "")
    key = said.get("key", "")[:40] or secrets.token_hex(12)
    shared = next((one for one in filled_rows(pairs, "shared_") if one.name), EMPTY)
    form = MixtureForm(**told, experts=rows[:MOST_EXPERTS], shared=shared, key=key)
    verb, _, argument = said.get("action", "").partition(":")
    try:
        if verb == "import":
            return replace(from_text(said.get("yaml", "")), key=key)
        if argument.isdecimal() and len(argument) < 4:
            return _moved(form, verb, int(argument))
        return _named(form, said.get("add", "").strip()[:LONGEST])
    except Refused as problem:
        brought = said.get("yaml", "")[: 2 * MAX_BYTES]
        return replace(form, problems=problem.findings, brought=brought if verb == "import" else "")


def from_text(text: str) -> MixtureForm:
    """The form of a recipe that somebody brought. Raises Refused."""
    return from_wanted(read_mixture(text))


def from_wanted(wanted: WantedMixture) -> MixtureForm:
    """Raises Refused for what the form has no field for."""
    if len(wanted.shared) > 1:
        text = "A mixture has one shared expert at most."
        raise refuse("too-many-shared", "shared_experts", text, "Keep one, or move the others to the experts.")
    mode = _SAME.get(wanted.gate_mode, wanted.gate_mode)
    return MixtureForm(
        str(wanted.base), mode, str(wanted.experts_per_token), wanted.dtype, wanted.architecture or "",
        str(wanted.seed), "", tuple(map(row_of, wanted.experts)), next(map(row_of, wanted.shared), EMPTY),
        secrets.token_hex(12),
    )  # fmt: skip


def _named(form: MixtureForm, typed: str) -> MixtureForm:
    """With the models that were typed under the names they go by, and the new one among the experts. Raises Refused."""
    shared = replace(form.shared, name=str(typed_reference(form.shared.name))) if form.shared.name else form.shared
    form = replace(form, base=str(typed_reference(form.base)) if form.base else "", shared=shared)
    if not typed:
        return form
    expert = row_of(Expert(typed_reference(typed)))
    if not form.takes_more:
        raise refuse("too-many-experts", "experts", f"{MOST_EXPERTS} experts are the most.", "Remove one first.")
    return replace(form, experts=(*form.experts, expert), landing=f"#expert-{len(form.experts) + 1}")


def _moved(form: MixtureForm, verb: str, index: int) -> MixtureForm:
    """With one expert removed, or moved ``up`` or ``down``."""
    rows, place = list(form.experts), index
    if index < len(rows):
        row = rows.pop(index)
        if verb in ("up", "down"):
            place = min(max(0, index + (1 if verb == "down" else -1)), len(rows))
            rows.insert(place, row)
    return replace(form, experts=tuple(rows), landing=f"#expert-{min(place + 1, len(rows))}" if rows else "")
