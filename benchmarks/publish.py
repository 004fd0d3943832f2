"""Puts the results into the docs: ``python -m benchmarks.publish`` after ``python -m benchmarks.run``.

The tables replace what stands between the two marks in ``docs/speed.md`` and, in brief, in the README; the drawings
come to lie beside the former.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.goals import MB
from benchmarks.results import Line, Results, lines, read
from benchmarks.table import brief, markdown

PAGE, README = Path("docs/speed.md"), Path("README.md")
RESULTS = Path(".cache/benchmarks/results")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
DRAWINGS = ("time", "memory")
QUIET = 0.1
"""Share of all cores that others may take before it is worth a warning."""
SMALLEST = "87K"


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


def remarks(made: Sequence[Line]) -> str:
    """What a reader has to know before trusting a figure: how busy the machine was, and what starting alone costs."""
    disturbed = [one.disturbed for line in made for one in (line.ours, line.theirs) if one]
    runs = [one.runs for line in made for one in (line.ours, line.theirs) if one]
    told = [f"Figures are medians of {_range(runs)} runs." if max(runs) > 1 else "Every figure is from a single run."]
    if max(disturbed) < QUIET:
        told.append("Hardly anything else was running.")
    else:
        share = _range([100 * one for one in disturbed])
        told.append(
            f"Other programs took {share} % of all cores meanwhile: take ratios of processor time as rough, those of"
            " wall time as rougher, memory as it stands."
        )
    starts = [line.ours for line in made if line.size == SMALLEST and line.ours]
    if starts:
        seconds = _range([one.cpu for one in starts], ".2f")
        peak = f"{max(one.peak_bytes for one in starts) / MB:.0f}"
        told.append(f"Starting, seen at {SMALLEST}, takes {seconds} s of processor time and up to {peak} MB.")
    return " ".join(told) + "\n"


def _range(values: Sequence[float], form: str = ".0f") -> str:
    least, most = format(min(values), form), format(max(values), form)
    return least if least == most else f"{least} to {most}"


def whole(results: Results) -> str:
    """All that was measured, with what a reader has to know of it."""
    made = lines(results.runs, int(results.machine["cores"]))
    return f"{heading(results)}\n{remarks(made)}\n{markdown(made)}"


def first_look(results: Results) -> str:
    """The same in brief."""
    return f"{heading(results)}\n{brief(lines(results.runs, int(results.machine['cores'])))}"


def published(page: str, measured: str) -> str:
    """``page`` with ``measured`` between its marks. Raises ValueError when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{BEGIN} and {END} are not in the page")
    return f"{before}{begin}\n\n{measured}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the results of the benchmarks into the docs.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    results = read(asked.results / "results.json")
    for page, measured in ((PAGE, whole(results)), (README, first_look(results))):
        page.write_text(published(page.read_text(), measured))
    for name in DRAWINGS:
        shutil.copyfile(asked.results / f"{name}.svg", PAGE.parent / f"speed-{name}.svg")


if __name__ == "__main__":
    main()
