"""Before a merge: read the recipe, look at the parents' headers, plan, and say what it will cost.

One way for the page, the API, the command line and the worker to ask "will this work".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.library.facts import Library
from app.library.together import read_facts
from app.planning.check import check
from app.planning.estimate import Estimate, estimate
from app.planning.facts import ModelFacts
from app.planning.folding import fold
from app.planning.join_vocabularies import is_settled
from app.planning.parents import Parents
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.planning.rates import GUESSED, Rates
from app.planning.same_names import under_one_name
from app.recipe.findings import Finding, Refused, by_level, has_errors
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, Recipe


@dataclass(frozen=True)
class Preflight:
    """What is known before a byte of weights is fetched. ``plan`` and ``estimate`` are there when nothing is wrong."""

    recipe: Recipe | None
    findings: tuple[Finding, ...]
    plan: Plan | None = None
    estimate: Estimate | None = None
    facts: Mapping[ModelRef, ModelFacts] = field(default_factory=lambda: MappingProxyType({}))
    unsettled: bool = False
    """Something is still being measured: who asks again will know more."""

    @property
    def ok(self) -> bool:
        return self.plan is not None and not has_errors(self.findings)


def preflight(
    text: str,
    library: Library,
    *,
    seed: int | None = None,
    token: str | None = None,
    folded: bool = False,
    rates: Rates = GUESSED,
) -> Preflight:
    """Check a recipe text against its parents' headers. Never raises for what people can get wrong. ``folded``: plan
    one for all experts that are alike, which is faster and enough to tell what a merge will do, but not to do it.
    ``rates``: for the estimate."""
    reading = read_recipe(text)
    if reading.recipe is None:
        return Preflight(None, by_level(reading.findings))
    return preflight_recipe(
        reading.recipe, library, seed=seed, token=token, found=reading.findings, folded=folded, rates=rates
    )


def preflight_recipe(
    recipe: Recipe,
    library: Library,
    *,
    seed: int | None = None,
    token: str | None = None,
    found: tuple[Finding, ...] = (),
    folded: bool = False,
    rates: Rates = GUESSED,
) -> Preflight:
    """The same for a recipe that is already read; ``found`` are the remarks of reading it."""
    facts, problems = gather_facts(recipe, library, token)
    findings = (*found, *problems)
    if problems:
        return Preflight(recipe, by_level(findings), facts=facts)
    facts = fold(recipe, facts) if folded else facts
    findings = (*findings, *(remark for one in facts.values() for remark in one.remarks), *check(recipe, facts))
    try:
        plan = make_plan(recipe, facts, seed=seed)
    except Refused as problem:
        return Preflight(recipe, by_level((*findings, *problem.findings)), facts=facts)
    findings = by_level((*findings, *plan.findings))
    return Preflight(recipe, findings, plan, estimate(plan, rates=rates), facts)


def gather_facts(
    recipe: Recipe, library: Library, token: str | None
) -> tuple[Mapping[ModelRef, ModelFacts], tuple[Finding, ...]]:
    """The parents' facts under one set of names, with their tokenizers where these matter, and what could not be
    read."""
    facts, problems = read_facts(recipe.parents(), library, token)
    if not problems and not all(_is_settled(document, facts) for document in recipe.documents):
        for model, known in facts.items():
            try:
                facts[model] = library.with_tokenizer(model, known, token)
            except Refused as problem:
                problems.extend(problem.findings)
    return MappingProxyType(facts) if problems else under_one_name(recipe, facts), tuple(problems)


def _is_settled(document: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> bool:
    """Whether a document's tokenizer block asks for nothing, as far as its parents are known before they are made."""
    parents = document.own_parents()
    if any(ref not in facts for ref in parents):
        return document.tokenizer is None
    return is_settled(document, Parents.of(parents, facts))
