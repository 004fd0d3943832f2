"""Sizes as people read them."""

from __future__ import annotations


def gigabytes(size: int) -> str:
    """``1.2 GB``, or ``12 MB`` below a gigabyte."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
