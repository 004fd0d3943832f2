"""The engine alone: how long the weights take, without starting Python, loading kernels and checking the recipe.

``python -m benchmarks.engine RECIPE OUT TINY`` runs in the folder of the checkpoints. ``TINY`` is the folder of the
smallest checkpoints: the same recipe is merged there first, outside the clock, so that its kernels are loaded.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

from app.planning.plan import Plan
from app.preflight import preflight
from app.settings import Settings
from benchmarks.measure import Measured, machine, peak_bytes
from benchmarks.recipes import RECIPES
from worker.engine.execute import execute
from worker.open_library import open_library


def _planned(recipe: str, folder: Path) -> tuple[Plan, list[Path]]:
    """The plan of a recipe whose models lie in ``folder``, and the parents' folders in the plan's order."""
    library = open_library(Settings(), folder)
    looked = preflight(recipe, library)
    if looked.plan is None:
        raise SystemExit("\n".join(map(str, looked.findings)))
    return looked.plan, [folder / parent.ref for parent in looked.plan.parents]


def _time(plan: Plan, folders: list[Path], out: Path) -> Measured:
    busy, steal = machine()
    wall, cpu = time.perf_counter(), time.process_time()
    execute(plan, folders, out)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    busy_after, steal_after = machine()
    peak = peak_bytes(resource.getrusage(resource.RUSAGE_SELF))
    return Measured(wall, cpu, peak, steal_after - steal, max(0.0, busy_after - busy - cpu))


def main() -> None:
    recipe, out, tiny = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    method = recipe.stem
    warm = out.with_name(f"{out.name}-warm")
    execute(*_planned(RECIPES[method].write(_layers(tiny)), tiny), warm)
    shutil.rmtree(warm)
    measured = _time(*_planned(recipe.read_text(), Path.cwd()), out)
    print(json.dumps(asdict(measured)), flush=True)
    os._exit(0)


def _layers(folder: Path) -> int:
    return int(json.loads((folder / "base" / "config.json").read_text())["num_hidden_layers"])


if __name__ == "__main__":
    main()
