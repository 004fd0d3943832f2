"""Sizes as people read them."""

from __future__ import annotations


def gigabytes(size: int) -> str:
    """``1.2 GB``, ``12 MB`` below a gigabyte, ``144 kB`` below a megabyte."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{round(size / 1e6)} MB" if size >= 1e6 else f"{round(size / 1e3)} kB"
