"""Numbers of things, in words."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """``1 model``, ``3 models``, ``0 models``, ``1,000 entries`` with ``many`` given."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
