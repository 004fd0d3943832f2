"""The ready recipes: files beside this one, each opening with what it is, when it works and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("ready")
_LAPTOP = 3e9
"""Parents with fewer parameters are merged on any laptop in minutes."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A recipe people start from.

    ``gist`` is what it does in a few words, ``when`` says when it works, ``cost`` what it takes, ``size`` how many
    parameters a parent has; ``text`` is the YAML with its opening remarks.
    """

    slug: str
    title: str
    gist: str
    when: str
    cost: str
    size: str
    text: str

    @property
    def classic(self) -> bool:
        """Whether it takes more than a laptop: the well-known merges of 7 and 8 B."""
        return self.parameters >= _LAPTOP

    @property
    def parameters(self) -> float:
        number, unit = self.size.split()
        return float(number) * {"M": 1e6, "B": 1e9}[unit]


@cache
def presets() -> tuple[Preset, ...]:
    """Every ready recipe: blends before stacks, the smallest models first."""
    found = [_read(path) for path in sorted(FOLDER.glob("*.yml"))]
    return tuple(sorted(found, key=lambda one: (one.classic, "passthrough" in one.text, one.parameters, one.title)))


def preset(slug: str) -> Preset | None:
    return next((one for one in presets() if one.slug == slug), None)


def _read(path: Path) -> Preset:
    text = path.read_text(encoding="utf-8")
    head = dict(line[2:].split(": ", 1) for line in text.splitlines() if line.startswith("# ") and ": " in line)
    return Preset(path.stem, head["title"], head["gist"], head["when"], head["cost"], head["size"], text)
