"""The model card of a mixture of experts."""

from __future__ import annotations

from collections.abc import Sequence

from app.experts.targets import Target
from app.experts.wanted import GATE_MODES, Expert, WantedMixture
from app.planning.card import fenced, front_matter, is_on_hub, loading, plain, version_told
from app.planning.facts import ModelFacts
from app.planning.licences import common_licence
from app.planning.pinning import pin
from app.planning.plan import Plan
from app.recipe.schema import ModelRef

_TAGS = ("moe", "merge", "mergekit", "weightloom")
_LIMITS = (
    "The experts were trained apart and never together, and the routers were not trained at all: which expert a token "
    "reaches is a guess from a few prompts. Of the experts only the MLPs are in here. Nothing is claimed about what "
    "this model can do: try it on your own task before relying on it. The licences of its parents go on applying."
)
_SHOWN = 3
_LONGEST = 120
"""Letters shown of a prompt."""


def mixture_card(plan: Plan, name: str, wanted: WantedMixture, target: Target) -> str:
    """Markdown with YAML front matter. ``name`` titles it."""
    refs = dict(zip(wanted.parents(), pin(plan.recipe, {}, None).parents(), strict=True))
    facts = dict(zip(wanted.parents(), plan.parents, strict=False))
    per_token = f"{wanted.experts_per_token} of {len(wanted.experts)}"
    sections = [
        _front_matter(refs, facts),
        f"# {plain(name) or 'Mixture of experts'}",
        f"A {target.title} of {per_token} experts a token, made of dense models with Weightloom.",
        f"{plan.parameters:,} parameters.",
        "## What went in",
        _table(wanted, refs, facts),
        "## How",
        f"Routers: **{wanted.gate_mode}**. {GATE_MODES[wanted.gate_mode]}",
        "The recipe:",
        fenced(plan.recipe_text, "yaml"),
        "## How to load it",
        fenced(loading(plan), "python"),
        "## What is not known",
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(refs: dict[ModelRef, ModelRef], facts: dict[ModelRef, ModelFacts]) -> str:
    hub = list(dict.fromkeys(refs[one].name for one in refs if is_on_hub(refs[one], facts[one])))
    return front_matter(hub, "merge", common_licence({str(one): facts[one] for one in refs}), _TAGS)


def _table(wanted: WantedMixture, refs: dict[ModelRef, ModelRef], facts: dict[ModelRef, ModelFacts]) -> str:
    lines = ["| part | model | version | licence | prompts |", "|---|---|---|---|---|"]
    rows: list[tuple[str, ModelRef, tuple[str, ...]]] = [("base", wanted.base, ())]
    rows += [(f"expert {number}", one.source, _prompts(one)) for number, one in enumerate(wanted.experts, start=1)]
    rows += [("shared expert", one.source, _prompts(one)) for one in wanted.shared]
    for part, ref, prompts in rows:
        told = facts[ref]
        version = version_told(refs[ref], told)
        licence = plain(told.licence or "not known")
        lines.append(f"| {part} | {plain(refs[ref].unversioned)} | {version} | {licence} | {_told(prompts)} |")
    return "\n".join(lines)


def _prompts(one: Expert) -> tuple[str, ...]:
    return (*one.positive, *(f"not: {prompt}" for prompt in one.negative))


def _told(prompts: Sequence[str]) -> str:
    shown = [plain(one if len(one) <= _LONGEST else f"{one[:_LONGEST]}…") for one in prompts[:_SHOWN]]
    more = [f"and {len(prompts) - _SHOWN} more"] if len(prompts) > _SHOWN else []
    return "; ".join([*shown, *more])
