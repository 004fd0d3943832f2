"""The ready recipes: files beside this one, each opening with its title, when it works and its size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("ready")


@dataclass(frozen=True, slots=True)
class Preset:
    """A recipe people start from. ``text`` is the YAML with its opening remarks."""

    slug: str
    title: str
    when: str
    size: str
    text: str


@cache
def presets() -> tuple[Preset, ...]:
    """Every ready recipe, the smallest models first."""
    found = [_read(path) for path in sorted(FOLDER.glob("*.yml"))]
    return tuple(sorted(found, key=lambda preset: (_parameters(preset.size), preset.title)))


def preset(slug: str) -> Preset | None:
    return next((one for one in presets() if one.slug == slug), None)


def _read(path: Path) -> Preset:
    text = path.read_text(encoding="utf-8")
    head = dict(line[2:].split(": ", 1) for line in text.splitlines() if line.startswith("# ") and ": " in line)
    return Preset(path.stem, head["title"], head["when"], head["size"], text)


def _parameters(size: str) -> float:
    number, unit = size.split()
    return float(number) * {"M": 1e6, "B": 1e9}[unit]
