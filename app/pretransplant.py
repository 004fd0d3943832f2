"""Before a model gets another model's tokenizer: read headers and tokenizers, check, plan, and say what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.library.facts import Library
from app.library.together import read_facts
from app.planning.adapters import remarks as about_adapter
from app.planning.estimate import Estimate, estimate
from app.planning.licences import compare_licences
from app.planning.parents import Parents, unfit
from app.planning.plan import Plan
from app.planning.rates import GUESSED, Rates
from app.planning.tokenizer_file import TOKENIZER, TokenizerFile, read_tokenizer
from app.planning.vocabulary import Known
from app.recipe.findings import Finding, Refused, by_level
from app.transplant.costs import with_search
from app.transplant.matching import Match, match, special_ids
from app.transplant.matrices import DONOR, MODEL
from app.transplant.planning import plan_transplant
from app.transplant.remarks import remarks, unfitting, unreadable
from app.transplant.special import NewIds
from app.transplant.wanted import WantedTransplant


@dataclass(frozen=True)
class Pretransplant:
    """``wanted``: Hub models pinned to the commits that were read. ``plan``: its ``recipe_text`` is what is published.
    ``findings``: no errors among them. ``tokenizer``: the text of the model's own tokenizer.json."""

    wanted: WantedTransplant
    plan: Plan
    estimate: Estimate
    findings: tuple[Finding, ...]
    match: Match
    tokenizer: str


def pretransplant(
    wanted: WantedTransplant, library: Library, token: str | None = None, rates: Rates = GUESSED
) -> Pretransplant:
    """Raises Refused with everything that stands in the way."""
    parents = _read(wanted, library, token)
    files = tuple(read_tokenizer(one.texts.get(TOKENIZER, "")) for one in parents.facts)
    _refuse(unreadable(parents, files))
    known = _known(parents, files)
    rows = max(known[DONOR].rows, max(known[DONOR].file.tokens.values(), default=-1) + 1)
    roles = tuple(special_ids(one, it.file.tokens) for one, it in zip(parents.facts, known, strict=True))
    found = match(known[MODEL], known[DONOR], (roles[MODEL], roles[DONOR]), rows)
    ids = NewIds(parents.facts[DONOR].config, roles[DONOR], found.moved(), rows)
    _refuse(unfitting(wanted, parents, found, ids))
    plan = plan_transplant(wanted, found, ids, parents)
    facts = dict(zip(map(str, parents.refs), parents.facts, strict=True))
    told = [
        *remarks(wanted, parents, known, found, ids), *plan.findings,
        *compare_licences({name: one.licence for name, one in facts.items()}),
        *(remark for name, one in facts.items() for remark in (*about_adapter(name, one), *one.remarks)),
    ]  # fmt: skip
    findings = by_level(told)
    pinned = {ref: library.pin(ref, one) for ref, one in zip(parents.refs, parents.facts, strict=True)}
    cost = with_search(estimate(plan, rates=rates), wanted, found, plan)
    text = parents.facts[MODEL].texts[TOKENIZER]
    return Pretransplant(wanted.renamed(pinned), replace(plan, findings=findings), cost, findings, found, text)


def _read(wanted: WantedTransplant, library: Library, token: str | None) -> Parents:
    """Both models with their tokenizers. Raises Refused."""
    facts, problems = read_facts(wanted.parents(), library, token)
    problems += [finding for ref, one in facts.items() for finding in unfit(ref, one)]
    if not problems:
        for ref, one in facts.items():
            try:
                facts[ref] = library.with_tokenizer(ref, one, token)
            except Refused as problem:
                problems.extend(problem.findings)
    _refuse(problems)
    return Parents.of(wanted.parents(), facts)


def _known(parents: Parents, files: tuple[TokenizerFile | None, ...]) -> tuple[Known, Known]:
    """Each one's tokens, and the rows that it has for them."""
    known = [
        Known.of(file, one.shape[0] if one is not None else 0)
        for file, one in zip(files, parents.embeddings, strict=True)
        if file is not None
    ]
    return known[MODEL], known[DONOR]


def _refuse(problems: Iterable[Finding]) -> None:
    found = tuple(dict.fromkeys(problems))
    if found:
        raise Refused(found)
