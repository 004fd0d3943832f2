"""SVG to PNG, for places that show no SVG: previews of links."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import resvg_py

from app.web.static_files import asset_folder

_OWN_LETTERS = range(0x20, 0x180)
"""The fonts beside the style sheets have these, and some signs; other writing is drawn with what the machine has."""
_OWN_SIGNS = frozenset("–—‘’“”…·×→←↑↓")


def png(svg: str) -> bytes:
    """The drawing at its own size. The machine's fonts are only looked for when ours lack a letter: it takes long."""
    ours = all(ord(letter) in _OWN_LETTERS or letter in _OWN_SIGNS or letter.isspace() for letter in svg)
    return resvg_py.svg_to_bytes(svg_string=svg, font_files=_fonts(), skip_system_fonts=ours)


@cache
def _fonts() -> list[str]:
    folder: Path = asset_folder("static") / "vendor"
    return [str(path) for path in sorted(folder.glob("*.ttf"))]
