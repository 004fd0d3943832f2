"""A recipe handed to a command: its text, and which command makes what it describes."""

from __future__ import annotations

import sys
from pathlib import Path

from app.experts.wanted import is_mixture
from app.recipe.findings import Finding, Refused, refuse

LARGEST = 1 << 20
MOE, MERGE = "weightloom moe", "weightloom merge"


def recipe_text(path: Path) -> str:
    """The text of a recipe file; ``-`` is the standard input. Raises Refused."""
    try:
        raw = sys.stdin.buffer.read(LARGEST) if str(path) == "-" else _read(path)
        return raw.decode()
    except OSError as problem:
        text = f"{path} cannot be read: {problem.strerror}."
        raise refuse("no-recipe", str(path), text, "Give the path of a YAML file.") from None
    except UnicodeDecodeError:
        raise refuse("no-recipe", str(path), f"{path} is not a text file.", "Give the path of a YAML file.") from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST)


def merge_text(path: Path) -> str:
    """The same of a merge. Raises Refused for the recipe of a mixture of experts too."""
    text = recipe_text(path)
    if is_mixture(text):
        raise Refused(made_by_moe("error"))
    return text


def mixture_text(path: Path) -> str:
    """The same of a mixture of experts. Raises Refused for the recipe of a merge too."""
    text = recipe_text(path)
    if not is_mixture(text) and "merge_method" in text:
        told = "This is the recipe of a merge, not of a mixture of experts."
        raise refuse("another-command", str(path), told, f"Call {MERGE} with it.")
    return text


def made_by_moe(level: str) -> Finding:
    text = "This is the recipe of a mixture of experts."
    return Finding("error" if level == "error" else "info", "another-command", "", text, f"{MOE} makes it.")
