"""Before adapters are made: read headers, check, and say what the result will be and cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.adapting.difference import Difference, compare
from app.adapting.extraction import about_extraction, outline_extraction
from app.adapting.outline import Outline, about_size, outline
from app.adapting.sketch import AdapterSketch, sketch
from app.adapting.together import check_together, remarks
from app.adapting.wanted import WantedExtract, WantedMerge
from app.library.facts import Library
from app.library.together import read_facts
from app.planning.facts import ModelFacts
from app.planning.licences import compare_licences
from app.planning.parents import Parents, unfit
from app.planning.same_names import called_as
from app.recipe.findings import Finding, Refused, has_errors
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef


@dataclass(frozen=True)
class Premerge:
    """``wanted``: every Hub adapter pinned to the commit that was read. ``findings``: no errors among them."""

    wanted: WantedMerge
    facts: tuple[ModelFacts, ...]
    sketches: tuple[AdapterSketch, ...]
    outline: Outline
    findings: tuple[Finding, ...]

    @property
    def base(self) -> str | None:
        """The model that the adapters say they were made for: the first one's word goes into the result."""
        return self.sketches[0].settings.base


def premerge(wanted: WantedMerge, library: Library, token: str | None = None) -> Premerge:
    """Raises Refused with everything that stands in the way."""
    found, problems = read_facts(wanted.adapters, library, token, adapters=True)
    sketches: dict[str, AdapterSketch] = {}
    for ref in dict.fromkeys(wanted.adapters):
        try:
            sketches.update({str(ref): sketch(found[ref])} if ref in found else {})
        except Refused as problem:
            problems.extend(problem.findings)
    if problems:
        raise Refused(dict.fromkeys(problems))
    listed = tuple(sketches[str(ref)] for ref in wanted.adapters)
    findings = list(check_together(listed, wanted.how))
    if has_errors(findings):
        raise Refused(one for one in findings if one.level == "error")
    facts = tuple(found[ref] for ref in wanted.adapters)
    made = outline(listed, wanted.how, wanted.dtype, facts)
    findings += [*remarks(listed, wanted.how), *about_size(listed, wanted.how, made)]
    findings += compare_licences({parse_reference(one.ref).name: one.licence for one in facts})
    findings += [remark for one in facts for remark in one.remarks]
    pinned = wanted.pinned([library.pin(ref, one) for ref, one in zip(wanted.adapters, facts, strict=True)])
    return Premerge(pinned, facts, listed, made, tuple(dict.fromkeys(findings)))


@dataclass(frozen=True)
class Preextract:
    """``wanted``: pinned likewise. ``parents``: the fine-tune and its base."""

    wanted: WantedExtract
    parents: Parents
    difference: Difference
    outline: Outline
    findings: tuple[Finding, ...]


def preextract(wanted: WantedExtract, library: Library, token: str | None = None) -> Preextract:
    """Raises Refused with everything that stands in the way."""
    parents = models_of((wanted.tuned, wanted.base), library, token)
    parents = Parents.of(
        parents.refs, {wanted.tuned: called_as(parents.facts[1], parents.facts[0]), wanted.base: parents.facts[1]}
    )
    tuned, base = parents.facts
    difference = compare(tuned, base, wanted.wish)
    findings = [
        *about_extraction(difference, parents, wanted.wish),
        *compare_licences({str(ref): one.licence for ref, one in zip(parents.refs, parents.facts, strict=True)}),
        *tuned.remarks, *base.remarks,
    ]  # fmt: skip
    pinned = replace(wanted, tuned=library.pin(wanted.tuned, tuned), base=library.pin(wanted.base, base))
    made = outline_extraction(difference, parents, wanted.wish)
    return Preextract(pinned, parents, difference, made, tuple(dict.fromkeys(findings)))


def models_of(refs: tuple[ModelRef, ...], library: Library, token: str | None = None) -> Parents:
    """The facts of models, which may have adapters on them. Raises Refused."""
    facts, problems = read_facts(refs, library, token)
    problems += [finding for ref, one in facts.items() for finding in unfit(ref, one)]
    if problems:
        raise Refused(dict.fromkeys(problems))
    return Parents.of(refs, facts)
