"""The catalogue's methods in the groups of the select, and where their papers are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.recipe.catalogue import METHODS, Method

_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_ADDRESS = re.compile(r"[\w-]+(\.[\w-]+)+(/[\w./-]*)?")
_GROUPS: Mapping[str, Sequence[str]] = {
    "Averages and arcs": ("linear", "slerp", "nuslerp", "multislerp", "karcher"),
    "Changes from a base": (
        "task_arithmetic", "transfer", "model_stock", "sce", "nearswap", "arcee_fusion", "ram", "ramplus_tl",
    ),
    "Changes, trimmed or voted": (
        "ties", "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties", "della", "della_linear",
        "consensus_ta", "consensus_ties",
    ),
    "Layers": ("passthrough",),
}  # fmt: skip


def method_groups() -> list[tuple[str, list[Method]]]:
    """Every method of the catalogue in exactly one group; what no group names comes last, under "Others"."""
    groups = [(title, [METHODS[name] for name in names if name in METHODS]) for title, names in _GROUPS.items()]
    named = {name for names in _GROUPS.values() for name in names}
    others = [method for name, method in METHODS.items() if name not in named]
    return [(title, methods) for title, methods in [*groups, ("Others", others)] if methods]


def paper_link(paper: str) -> str:
    """The address of a paper: arXiv for an arXiv number, the page itself for an address, else an empty string."""
    if _ARXIV.fullmatch(paper):
        return f"https://arxiv.org/abs/{paper}"
    return f"https://{paper}" if _ADDRESS.fullmatch(paper) else ""
