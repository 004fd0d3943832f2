"""The registry: every merge method of the catalogue by its name, as a function that makes one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from worker.engine.methods import blends, consensus, della, deltas, pairs, shares, sphere
from worker.engine.work import Work

METHODS: Mapping[str, Callable[[Work], None]] = MappingProxyType(
    {
        "linear": blends.linear,
        "slerp": sphere.slerp,
        "nuslerp": sphere.nuslerp,
        "multislerp": sphere.multislerp,
        "karcher": sphere.karcher,
        "task_arithmetic": blends.task_arithmetic,
        "transfer": blends.transfer,
        "ties": deltas.ties,
        "dare_linear": deltas.dare_linear,
        "dare_ties": deltas.dare_ties,
        "breadcrumbs": deltas.breadcrumbs,
        "breadcrumbs_ties": deltas.breadcrumbs_ties,
        "della": della.della,
        "della_linear": della.della_linear,
        "consensus_ta": consensus.consensus_ta,
        "consensus_ties": consensus.consensus_ties,
        "model_stock": sphere.model_stock,
        "sce": shares.sce,
        "nearswap": pairs.nearswap,
        "arcee_fusion": pairs.arcee_fusion,
        "ram": shares.ram,
        "ramplus_tl": shares.ramplus_tl,
        "passthrough": blends.passthrough,
    }
)
