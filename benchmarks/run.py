"""Weightloom and mergekit on the same recipes, by turns: ``python -m benchmarks.run``.

Every run is a whole process with the parents in the page cache. Results go into a folder as ``results.json`` (every
single run), ``table.md``, ``time.svg`` and ``memory.svg``; sizes and recipes measured there before are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import measure, mergekit_env
from benchmarks.drawing import curves, draw
from benchmarks.measure import Failed, Measured
from benchmarks.recipes import RECIPES
from benchmarks.results import COPY, ENGINE, OURS, THEIRS, Results, Run, lines, read
from benchmarks.table import markdown

TINY = "87K"
OFFLINE = {"HF_HUB_OFFLINE": "1"}
"""Every parent is a folder; neither tool is to ask the Hub about it."""
PATIENCE = 60.0
"""Seconds. A mergekit recipe that takes longer is run once only."""
REPEATS = 2
_PIECE = 1 << 20


@dataclass(frozen=True)
class Bench:
    """What one measuring needs. ``scratch``: where outputs are written. ``mergekit``: its program, or None."""

    checkpoints: Path
    scratch: Path
    rounds: int
    mergekit: Path | None

    def weights(self, size: str) -> Path:
        return self.checkpoints / size

    def recipe(self, size: str, method: str) -> Path:
        """The recipe's file beside the checkpoints of ``size``."""
        layers = json.loads((self.weights(size) / "base" / "config.json").read_text())["num_hidden_layers"]
        path = self.weights(size) / f"{method}.yml"
        path.write_text(RECIPES[method].write(layers))
        return path

    def subject(self, size: str, method: str) -> list[Run]:
        """All tools on one recipe, round after round.

        A first merge outside the clock: else whoever comes first would pay for the memory that the system, or the
        machine it is a guest of, has to find for an output of this size.
        """
        recipe, out = self.recipe(size, method), self.scratch / "out"
        measure.run([*self._command(OURS), recipe, out], self.weights(size), OFFLINE)
        runs: list[Run] = []
        for _ in range(self.rounds):
            for tool in (OURS, ENGINE, THEIRS):
                if tool != THEIRS or (self._has(method) and not _slow(runs)):
                    runs.append(self._run(tool, size, recipe, out))
                if tool == OURS:
                    runs.append(self._copy(size, method, out))
                shutil.rmtree(out, ignore_errors=True)
        return runs

    def warm_up(self, method: str) -> None:
        """Compile and cache what the recipe needs, with the smallest checkpoints."""
        recipe, out = self.recipe(TINY, method), self.scratch / "out"
        for tool in (OURS, THEIRS) if self._has(method) else (OURS,):
            measure.run([*self._command(tool), recipe, out], self.weights(TINY), OFFLINE)
            shutil.rmtree(out)

    def _has(self, method: str) -> bool:
        """Whether mergekit is at hand and has the method."""
        return self.mergekit is not None and RECIPES[method].both

    def _run(self, tool: str, size: str, recipe: Path, out: Path) -> Run:
        def once() -> Measured:
            shutil.rmtree(out, ignore_errors=True)
            read_through(self.weights(size))
            if tool == ENGINE:
                return _engine(recipe, out, self.weights(size), self.weights(TINY))
            return measure.run([*self._command(tool), recipe, out], self.weights(size), OFFLINE)

        return _quiet(once, Run(size, recipe.stem, tool, Measured(0, 0, 0), day=_today()))

    def _copy(self, size: str, method: str, out: Path) -> Run:
        copied = out.with_name("copy")

        def once() -> Measured:
            shutil.rmtree(copied, ignore_errors=True)
            return measure.run(["cp", "-r", out, copied], self.scratch)

        run = _quiet(once, Run(size, method, COPY, Measured(0, 0, 0), day=_today()))
        shutil.rmtree(copied)
        return run

    def _command(self, tool: str) -> list[str | Path]:
        if tool == OURS:
            return [Path(sys.executable).parent / "weightloom", "merge"]
        assert self.mergekit is not None
        return [self.mergekit]


def _quiet(once: Callable[[], Measured], blank: Run) -> Run:
    """A run that was not stolen, or the last of REPEATS more tries."""
    measured, discarded = once(), 0
    while measured.stolen and discarded < REPEATS:
        measured, discarded = once(), discarded + 1
    _say(blank.size, blank.method, blank.tool, measured, discarded)
    return replace(blank, measured=measured, discarded=discarded)


def _say(size: str, method: str, tool: str, measured: Measured, discarded: int) -> None:
    print(
        f"{size:>5} {method:<16} {tool:<10} {measured.wall:8.2f} s  {measured.cpu:8.2f} s CPU"
        f"  {measured.peak_bytes / 1e6:7.0f} MB  steal {measured.steal:.1f} s  others {measured.others:.1f} s"
        + (f"  ({discarded} stolen runs discarded)" if discarded else ""),
        flush=True,
    )


def _engine(recipe: Path, out: Path, folder: Path, tiny: Path) -> Measured:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", recipe, out, tiny],
        cwd=folder, env={**os.environ, **OFFLINE, "PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if ended.returncode != 0:
        raise Failed(ended.stderr)
    return Measured(**json.loads(ended.stdout))


def _slow(runs: Sequence[Run]) -> bool:
    return any(run.tool == THEIRS and run.measured.wall > PATIENCE for run in runs)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def make_checkpoints(sizes: Sequence[str], under: Path) -> None:
    """In a process of its own, which can be niced and gives its memory back."""
    subprocess.run([sys.executable, "-m", "benchmarks.checkpoints", *sizes, under], check=True)


def read_through(folder: Path) -> None:
    """Bring every weight file below ``folder`` into the page cache: some systems free what lay idle for a while."""
    buffer = bytearray(_PIECE)
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def machine(mergekit: Path | None) -> dict[str, object]:
    """What the figures depend on."""
    processor = platform.processor()
    try:
        found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = found[0].partition(":")[2].strip()
    except (OSError, IndexError):
        pass
    ours = {name: version(name) for name in ("weightloom", "numpy", "numba")}
    theirs = mergekit_env.versions(mergekit.parent.parent) if mergekit else {}
    return {
        "processor": processor,
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "python": platform.python_version(),
        "weightloom": ours,
        "mergekit": theirs,
    }


def write(results: Results, out: Path) -> None:
    """All files of the results; drawings only once one of the recipes that are drawn was measured."""
    results.write(out / "results.json")
    made = lines(results.runs, int(results.machine["cores"]))
    (out / "table.md").write_text(markdown(made))
    times = curves(made, lambda middle: middle.wall)
    memory = curves(made, lambda middle: middle.peak_bytes / 1e6)
    if times:
        (out / "time.svg").write_text(draw("Wall time of a merge", "seconds", times))
        (out / "memory.svg").write_text(draw("Peak memory of a merge", "MB", memory))


def run(asked: argparse.Namespace) -> None:
    """Raises Failed when a tool does not end well; what was measured before is on disk then.

    Installed programs have their bytecode: one that may not write it would compile its modules again at each start.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    make_checkpoints([*dict.fromkeys([TINY, *asked.sizes])], asked.checkpoints)
    mergekit = None if asked.without_mergekit else mergekit_env.program()
    scratch = (asked.scratch or asked.checkpoints / "scratch").absolute()
    scratch.mkdir(parents=True, exist_ok=True)
    bench = Bench(asked.checkpoints.absolute(), scratch, asked.runs, mergekit)
    results = replace(read(asked.out / "results.json"), machine=machine(mergekit))
    try:
        for method in asked.methods:
            bench.warm_up(method)
        for size in asked.sizes:
            for method in asked.methods:
                results = results.replaced(bench.subject(size, method))
                write(results, asked.out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n{(asked.out / 'table.md').read_text()}\nKept in {asked.out}.")


def parser() -> argparse.ArgumentParser:
    folder = Path(".cache/benchmarks")
    made = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Time merges beside mergekit's.")
    add = made.add_argument
    add("--sizes", nargs="+", default=["87K", "135M", "0.5B"], help="87K, 135M, 0.5B, 1.5B")
    add("--methods", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="METHOD", help=", ".join(RECIPES))
    add("--runs", type=int, default=3, help="rounds; a mergekit run beyond a minute is not repeated (default 3)")
    add("--out", type=Path, default=folder / "results", help="folder for the results")
    add("--checkpoints", type=Path, default=folder, help="folder where the checkpoints are made and kept")
    add("--scratch", type=Path, help="folder for the merges' output, emptied afterwards (default: by the checkpoints)")
    add("--without-mergekit", action="store_true", help="time Weightloom alone")
    return made


if __name__ == "__main__":
    try:
        run(parser().parse_args())
    except Failed as problem:
        sys.exit(str(problem))
