"""Before a mixture of experts is made: read headers, check, plan every tensor, and say what it will be and cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.experts.costs import with_routers
from app.experts.dense import Dense, read_dense
from app.experts.fitting import check_fit
from app.experts.planning import plan_mixture, with_names
from app.experts.remarks import about_size, remarks
from app.experts.targets import Target, choose_target
from app.experts.wanted import WantedMixture
from app.library.facts import Library
from app.library.together import read_facts
from app.planning.adapters import remarks as about_adapter
from app.planning.estimate import Estimate, estimate
from app.planning.licences import compare_licences
from app.planning.parents import Parents, unfit
from app.planning.plan import Plan
from app.planning.rates import GUESSED, Rates
from app.recipe.findings import Finding, Refused, by_level


@dataclass(frozen=True)
class Premix:
    """``wanted``: every Hub model pinned to the commit that was read. ``plan``: its ``recipe_text`` is the recipe as it
    is published. ``findings``: no errors among them. ``dense`` and ``target``: what
    is known of the base, and what it becomes."""

    wanted: WantedMixture
    plan: Plan
    estimate: Estimate
    findings: tuple[Finding, ...]
    dense: Dense
    target: Target


def premix(wanted: WantedMixture, library: Library, token: str | None = None, rates: Rates = GUESSED) -> Premix:
    """Raises Refused with everything that stands in the way."""
    facts, problems = read_facts(wanted.parents(), library, token)
    problems += [finding for ref, one in facts.items() for finding in unfit(ref, one)]
    _refuse(problems)
    base = facts[wanted.base]
    target = choose_target(wanted.architecture, str(base.config.get("model_type", "")), base.ref)
    dense = read_dense(base, target)
    _refuse(check_fit(wanted, dense, target, facts))
    parents = Parents.of(wanted.parents(), facts)
    plan = plan_mixture(wanted, dense, target, parents)
    found = [
        *remarks(wanted, dense, facts), about_size(wanted, dense, plan.parameters), *plan.findings,
        *compare_licences({str(ref): one.licence for ref, one in facts.items()}),
        *(remark for ref, one in facts.items() for remark in (*about_adapter(str(ref), one), *one.remarks)),
    ]  # fmt: skip
    findings = by_level(found)
    pinned = with_names(wanted, {ref: library.pin(ref, one) for ref, one in facts.items()})
    cost = with_routers(estimate(plan, rates=rates), wanted, dense)
    return Premix(pinned, replace(plan, findings=findings), cost, findings, dense, target)


def _refuse(problems: Iterable[Finding]) -> None:
    if found := tuple(dict.fromkeys(problems)):
        raise Refused(found)
