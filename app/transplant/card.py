"""The model card of a model with another model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from app.planning.card import fenced, front_matter, is_on_hub, loading, plain, version_told
from app.planning.licences import common_licence
from app.planning.pinning import pin
from app.planning.plan import Plan
from app.transplant.matching import Match
from app.transplant.matrices import DONOR, MODEL
from app.transplant.rebuilt import Rebuilt
from app.transplant.wanted import APPROACHES, WantedTransplant

_TAGS = ("tokenizer-transplant", "mergekit", "weightloom")
_LIMITS = (
    "This model was not trained with its new tokenizer. It is usually somewhat worse than the model it was made from, "
    "and nothing is claimed here about what it can do: try it on your own task before relying on it. The licences of "
    "both models go on applying."
)


def transplant_card(
    plan: Plan, name: str, wanted: WantedTransplant, match: Match, rebuilt: Sequence[Rebuilt] = ()
) -> str:
    """Markdown with YAML front matter. ``name`` titles it."""
    refs = pin(plan.recipe, {}, None).parents()
    model, donor = (plain(refs[one].unversioned) for one in (MODEL, DONOR))
    sections = [
        _front_matter(plan),
        f"# {plain(name) or 'Model with another tokenizer'}",
        f"{model} with the tokenizer of {donor}, made with Weightloom.",
        "## What went in",
        _table(plan),
        "## How",
        _how(wanted, match, model),
        *(_check(one, wanted) for one in rebuilt),
        "What was asked for:",
        fenced(plan.recipe_text, "yaml"),
        "## How to load it",
        fenced(loading(plan), "python"),
        "## What is not known",
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _how(wanted: WantedTransplant, match: Match, model: str) -> str:
    text = f"{match.kept:,} of {match.tokens:,} tokens were in both vocabularies and keep their rows of embedding and "
    text += f"head. The other rows: **{wanted.approach}**. {APPROACHES[wanted.approach]} "
    return f"{text}All other weights are those of {model}, unchanged."


def _check(one: Rebuilt, wanted: WantedTransplant) -> str:
    text = f"A check of {plain(one.tensor)}: {one.tokens:,} tokens that both have were made anew of the others: "
    text += f"{one.error:.0%} of their length came back wrong (the median), with the mean of all rows in their place "
    text += f"{one.mean_error:.0%}."
    if one.falls_back(wanted):
        return f"{text} So its new rows are the mean of all rows."
    return text if one.useful else f"{text} Rows of the two are not laid out alike: the mean would have been nearer."


def _front_matter(plan: Plan) -> str:
    refs = pin(plan.recipe, {}, None).parents()
    facts = plan.parents[: DONOR + 1]
    hub = [refs[MODEL].name] if is_on_hub(refs[MODEL], facts[MODEL]) else []
    licence = common_licence({str(ref): one for ref, one in zip(refs, facts, strict=True)})
    return front_matter(hub, "finetune", licence, _TAGS)


def _table(plan: Plan) -> str:
    lines = ["| part | model | version | licence |", "|---|---|---|---|"]
    refs = pin(plan.recipe, {}, None).parents()
    for part, ref, facts in zip(("model", "tokenizer"), refs, plan.parents, strict=False):
        version = version_told(ref, facts)
        lines.append(f"| {part} | {plain(ref.unversioned)} | {version} | {plain(facts.licence or 'not known')} |")
    return "\n".join(lines)
