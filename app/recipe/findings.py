"""Remarks for people: every check, refusal and failure in Weightloom is told as a Finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Changed:
    """A value that is different afterwards, as JSON; None where there is none."""

    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        before, after = ("not set" if value is None else value for value in (self.before, self.after))
        return f"{self.key}: {before} → {after}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark: what, where, and what to do about it.

    ``code`` is a stable kebab-case word for scripts and tests; ``where`` names the place in the recipe
    (``models[1].parameters.weight``), the parent or the tensor; ``fix`` says what to change. ``changes``: what was
    set right without being asked, one by one.
    """

    level: Level
    code: str
    where: str
    text: str
    fix: str = ""
    changes: tuple[Changed, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types; ``changes`` only where there are some."""
        told = asdict(self)
        if not self.changes:
            del told["changes"]
        return told

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f" {self.fix}" if self.fix else ""
        return f"{self.level}: {self.text}{place}{advice}"


class Refused(Exception):
    """Something cannot be done, for reasons a person can act on. Carries at least one finding."""

    def __init__(self, findings: Finding | Iterable[Finding]) -> None:
        self.findings: tuple[Finding, ...] = (findings,) if isinstance(findings, Finding) else tuple(findings)
        super().__init__("; ".join(str(finding) for finding in self.findings))


def refuse(code: str, where: str, text: str, fix: str = "") -> Refused:
    """An error with a single finding, ready to raise."""
    return Refused(Finding("error", code, where, text, fix))


def by_level(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, each remark once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: get_args(Level).index(one.level)))


def has_errors(findings: Iterable[Finding]) -> bool:
    return any(finding.level == "error" for finding in findings)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``Did you mean "ties"?`` when a known word is near, else an empty string."""
    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f'Did you mean "{near[0]}"?' if near else ""
