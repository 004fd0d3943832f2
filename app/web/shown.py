"""Text as people see it: without the characters that could make a page or a terminal lie."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1 controls but tab, line feed and carriage return
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that reorder what stands around them
    "\u2028\u2029\ufeff\ufff9-\ufffb"  # line separators, byte order mark, interlinear annotation
    "\ud800-\udfff]"  # lone surrogates, which cannot be written as UTF-8
)


def shown(text: str) -> str:
    """``text`` with every control, reordering and unprintable character replaced by U+FFFD. Keeps the string's type."""
    return type(text)(_HIDDEN.sub("\ufffd", text)) if _HIDDEN.search(text) else text
