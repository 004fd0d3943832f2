"""The cards of the parents: colour, role, facts in one line, and what their menus offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from app.planning.adapter_config import is_adapter
from app.planning.adapters import about_adapter
from app.planning.facts import ModelFacts
from app.recipe.form import FormView, ParentView
from app.recipe.knobs import Knob
from app.recipe.schema import ModelRef
from app.web.model_summary import layers_of
from app.web.pages.pictures.threads import thread
from app.web.rendering import short_number

DTYPE_WORDS = {"BF16": "bf16", "F16": "fp16", "F32": "fp32", "F64": "fp64", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}


@dataclass(frozen=True, slots=True)
class ParentCard:
    """One parent as the page shows it. ``role`` is its letter, ``base``, or both; ``facts`` one line, maybe empty."""

    index: int
    name: str
    letter: str
    colour: str
    role: str
    facts: str
    knobs: tuple[Knob, ...]
    can_be_base: bool
    can_leave_base: bool
    can_move: bool
    can_remove: bool
    made_by: int | None = None
    """The place of the recipe's document whose result it is."""


def parent_cards(
    form: FormView, facts: Mapping[ModelRef, ModelFacts], documents: Mapping[str, int] = MappingProxyType({})
) -> tuple[ParentCard, ...]:
    """``documents``: name -> place of those whose results a recipe uses as models."""
    return tuple(
        _card(parent, form, facts.get(parent.model), documents.get(str(parent.model))) for parent in form.parents
    )


def _card(parent: ParentView, form: FormView, facts: ModelFacts | None, made_by: int | None) -> ParentCard:
    base_matters = form.method.base != "ignored"
    is_base = parent.is_base and base_matters
    role = " · ".join(word for word in (parent.letter, "BASE" if is_base else "") if word)
    return ParentCard(
        index=parent.index,
        name=str(parent.model),
        letter=parent.letter,
        colour=thread(parent.letter),
        role=role or "BASE",
        facts=(facts_line(facts) if facts else "") if made_by is None else _made_line(facts, made_by),
        knobs=tuple(knob for knob in parent.knobs if knob.parameter.used),
        can_be_base=base_matters and not is_base and not form.whole,
        can_leave_base=is_base and form.method.base == "optional" and not form.whole,
        can_move=not form.stacked and len(form.parents) > 1 and bool(parent.letter),
        can_remove=True,
        made_by=made_by,
    )


def _made_line(facts: ModelFacts | None, made_by: int) -> str:
    """``134.5M · 30 layers · made by merge 1``."""
    layers = layers_of(facts) if facts else 0
    known = [short_number(facts.parameters) if facts else "", f"{layers} layers" if layers else ""]
    return " · ".join([*filter(None, known), f"made by merge {made_by + 1}"])


def facts_line(facts: ModelFacts) -> str:
    """``8.03B · bf16 · 32 layers · llama3.1``, leaving out what is not known."""
    dtypes = [DTYPE_WORDS.get(dtype, dtype) for dtype in facts.dtypes[:2]]
    layers = layers_of(facts)
    parts = [
        short_number(facts.parameters),
        " + ".join(dtypes),
        f"{layers} layers" if layers else "",
        "" if facts.config or is_adapter(facts) else "no config",
        facts.licence or "no licence",
        "gated" if facts.gated else "",
        about_adapter(facts),
    ]
    return " · ".join(part for part in parts if part)
