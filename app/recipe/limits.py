"""What merging cannot promise, in plain words (``limits.md``): a page of the app and of the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".md")


@dataclass(frozen=True, slots=True)
class Limit:
    """One section: its heading, where it is on the page, and its paragraphs."""

    title: str
    paragraphs: tuple[str, ...]

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z]+", "-", self.title.lower()).strip("-")


def limits_page() -> str:
    """The page as Markdown."""
    return FILE.read_text(encoding="utf-8")


@cache
def limits() -> tuple[Limit, ...]:
    """The page's sections, in order."""
    sections = limits_page().split("\n## ")[1:]
    parts = [section.strip().split("\n\n") for section in sections]
    return tuple(Limit(title, tuple(" ".join(one.split()) for one in paragraphs)) for title, *paragraphs in parts)
