"""``weightloom compare``: the weights of models beside each other, in numbers and in words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.comparing.comparison import Comparison
    from app.library.facts import Library
    from worker.bar import Bar

Make = Callable[[argparse.Namespace, "Library", "str | None", "Bar"], str]
Add = Callable[[str, Make, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    about = "Compare the weights of models: signs, directions and sizes of their changes from a base."
    one = add("compare", compare_models, about)
    one.add_argument("models", nargs="+", metavar="MODEL", help="a folder, local:root/name or a Hub id; two or more")
    one.add_argument("--base", metavar="MODEL", help="what they were made from; one model is then enough")
    one.add_argument("--full", action="store_true", help="every weight; a sample of rows without")
    one.add_argument("--top", type=float, default=20.0, help="percent of the largest changes whose overlap is measured")
    form = one.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print every measure, layer by layer, as JSON")
    form.add_argument("--csv", action="store_true", help="print every measure of every tensor as CSV")


def compare_models(asked: argparse.Namespace, library: Library, token: str | None, bar: Bar) -> str:
    """What the command prints. Raises Refused or OSError."""
    import json

    from app.comparing.report import as_report
    from app.comparing.suggestions import suggest
    from app.comparing.tables import as_csv
    from app.comparing.wanted import read_wanted
    from worker.compare.compare import compare
    from worker.console import Console

    wanted = read_wanted(asked.models, asked.base, full=asked.full, top=asked.top / 100)
    comparison = compare(wanted, library, Console(Path(), bar, []), token=token)
    if asked.csv:
        return "".join(as_csv(comparison)).rstrip("\r\n")
    found = suggest(comparison)
    if asked.json:
        return json.dumps(as_report(comparison, found), indent=2)
    advice = [f"- {one.text}" for one in found] or ["Nothing in these numbers calls for a change."]
    note = "Weights and signs alone are diagnostics, not a score: whether a merge works only its answers tell."
    return "\n".join([*_models(comparison), "", *_tables(comparison), "", *advice, note])


def _models(comparison: Comparison) -> list[str]:
    names = [f"{comparison.letter(number)}     {ref}" for number, ref in enumerate(comparison.models)]
    return names if comparison.base is None else [*names, f"base  {comparison.base}"]


def _tables(comparison: Comparison) -> list[str]:
    """One line a measure and subject: over everything, then by module over all layers."""
    from app.comparing.comparison import subject_key
    from app.comparing.measures import subjects, value
    from app.comparing.telling import told

    rows = [["", "", "all", *comparison.columns]]
    for measure in comparison.measures:
        for subject in subjects(measure, len(comparison.models)):
            columns = [[one for one in comparison.tensors if one.module == name] for name in comparison.columns]
            of = [comparison.tensors, *columns]
            values = [told(measure, value(measure.name, tensors, subject)) for tensors in of]
            rows.append([measure.title, "" if subject == () else subject_key(subject), *values])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Words to the left, numbers to the right."""
    for at, (text, width) in enumerate(zip(row, widths, strict=True)):
        yield text.ljust(width) if at < 2 else text.rjust(width)
