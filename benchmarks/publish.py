"""Puts the results into the docs: ``python -m benchmarks.publish`` after ``python -m benchmarks.run``.

The table replaces what stands between the two marks in ``docs/speed.md``; the drawings come to lie beside it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from benchmarks.results import Results, lines, read
from benchmarks.table import markdown

PAGE = Path("docs/speed.md")
RESULTS = Path(".cache/benchmarks/results")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
DRAWINGS = ("time", "memory")


def heading(results: Results) -> str:
    """When, where and with what it was measured."""
    about = results.machine
    days = sorted({run.day for run in results.runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    theirs = ", ".join(f"{name} {number}" for name, number in about["mergekit"].items()) or "not measured"
    ours = ", ".join(f"{name} {number}" for name, number in about["weightloom"].items())
    return (
        f"Measured {when} on {about['cores']} cores ({about['processor']}), {about['memory_bytes'] / 1e9:.0f} GB of "
        f"memory, Python {about['python']}. Weightloom: {ours}. mergekit: {theirs}.\n"
    )


def published(page: str, results: Results) -> str:
    """``page`` with the results between its marks. Raises ValueError when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{BEGIN} and {END} are not in the page")
    table = markdown(lines(results.runs, int(results.machine["cores"])))
    return f"{before}{begin}\n\n{heading(results)}\n{table}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the results of the benchmarks into the docs.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    asked.page.write_text(published(asked.page.read_text(), read(asked.results / "results.json")))
    for name in DRAWINGS:
        shutil.copyfile(asked.results / f"{name}.svg", asked.page.parent / f"speed-{name}.svg")


if __name__ == "__main__":
    main()
