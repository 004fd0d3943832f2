"""An environment of its own for mergekit, the program Weightloom is compared with.

``python -m benchmarks.mergekit_env`` makes it in ``.cache/mergekit-venv``. mergekit is licensed under the LGPL and is
only ever started there as a separate program; nothing of it is imported, read or shipped.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(".cache/mergekit-venv")
WANTED = ("mergekit==0.1.5", "torch==2.13.0")
"""torch is held at the version Weightloom itself is installed with, so that neither has the newer one."""


def program(folder: Path = FOLDER) -> Path:
    """The ``mergekit-yaml`` of the environment in ``folder``, which is made if it is not there.

    Raises subprocess.CalledProcessError when pip cannot install it.
    """
    mergekit = folder.absolute() / "bin" / "mergekit-yaml"
    done = folder / ".installed"
    if not (mergekit.exists() and done.exists() and done.read_text() == _wanted()):
        print(f"Installing {' and '.join(WANTED)} into {folder}; the first time this takes minutes.", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        python = folder / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", *WANTED], check=True)
        done.write_text(_wanted())
    return mergekit


def versions(folder: Path = FOLDER) -> dict[str, str]:
    """The versions of mergekit and of what it computes with."""
    frozen = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    found = dict(line.split("==", 1) for line in frozen.splitlines() if "==" in line)
    return {name: found[name] for name in ("mergekit", "torch", "transformers", "safetensors") if name in found}


def _wanted() -> str:
    return "\n".join(WANTED) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environment of mergekit.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    print(program(parser.parse_args().folder))


if __name__ == "__main__":
    main()
