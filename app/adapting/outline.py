"""The adapter that a merge of adapters will give, before a weight is read: modules, ranks, bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.adapting.methods import METHODS
from app.adapting.sketch import AdapterSketch, ModuleSketch
from app.adapting.wanted import How
from app.planning.facts import DTYPE_BYTES, TORCH_TO_SAFETENSORS, FileFacts, ModelFacts
from app.recipe.findings import Finding

_DOUBLE = 8
_HEADER_BYTES = 250
"""Of the result's header, for one module."""
PROCESS_BYTES = 160 << 20
"""What a worker needs before it has read anything."""


@dataclass(frozen=True)
class Outline:
    """``ranks`` by module, as they are at most. Sizes in bytes: of the result, of what must be fetched, and of main
    memory at the peak."""

    ranks: Mapping[str, int]
    output_bytes: int
    download_bytes: int
    memory_bytes: int

    @property
    def rank_words(self) -> str:
        return range_words(self.ranks.values()) if self.ranks else "–"


def range_words(numbers: Iterable[int]) -> str:
    """``16``, or ``8 to 16``."""
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def outline(adapters: Sequence[AdapterSketch], how: How, dtype: str, parents: Sequence[ModelFacts]) -> Outline:
    """``parents``: the adapters' facts, for what has to be fetched. The adapters fit each other."""
    each = _by_module(adapters)
    ranks = {name: rank_of(modules, how) for name, modules in each.items()}
    shared = max((rank for name, rank in ranks.items() if each[name][0].experts), default=0)
    ranks = {name: shared if each[name][0].experts else rank for name, rank in ranks.items()}
    elements = sum(rank * _width(each[name][0]) for name, rank in ranks.items())
    read = sum(one.up.elements + one.down.elements for modules in each.values() for one in modules)
    output = stored_bytes(elements, len(ranks), dtype)
    return Outline(
        ranks,
        output,
        sum(file.size for one in parents for file in needed_files(one) if not file.present),
        PROCESS_BYTES + _DOUBLE * (read + elements) + 2 * output,
    )


def _width(module: ModuleSketch) -> int:
    """Numbers for each unit of rank."""
    return max(1, module.experts) * (module.outputs + module.inputs)


def stored_bytes(elements: int, modules: int, dtype: str) -> int:
    """What a file of so many numbers and modules takes, nearly."""
    return elements * DTYPE_BYTES[TORCH_TO_SAFETENSORS[dtype]] + _HEADER_BYTES * modules


def rank_of(modules: Sequence[ModuleSketch], how: How) -> int:
    """The rank that one module of the result has at most."""
    method, first = METHODS[how.method], modules[0]
    if method.rank == "own":
        return first.rank
    together = sum(one.rank for one in modules)
    if method.rank == "sum":
        return together
    exact = min(together, first.outputs, first.inputs)
    return exact if how.rank is None else min(exact, how.rank)


def about_size(adapters: Sequence[AdapterSketch], how: How, made: Outline) -> Iterator[Finding]:
    """Ranks that grow, and ranks that are asked for in vain."""
    largest = max(module.rank for one in adapters for module in one.modules.values())
    most = max(made.ranks.values())
    if how.rank is not None and how.rank > most:
        text = f"Rank {how.rank} is more than these adapters can use: with {most} nothing is lost."
        yield Finding("info", "rank-not-needed", "rank", text)
    elif most > largest:
        text = f"The result has rank {most}, where the largest adapter has {largest}: it is larger and a little slower."
        fix = "Name a rank to keep it small; how much is kept is told in the end."
        fix = fix if METHODS[how.method].rank == "chosen" else "svd gives the same sum with a rank of your choice."
        yield Finding("info", "rank-grows", "rank", text, fix)


def needed_files(facts: ModelFacts) -> Iterator[FileFacts]:
    """The files of weights that are read. What an adapter brings to a model lies with the adapter."""
    return (file for file in facts.files if file.name in facts.weight_files)


def _by_module(adapters: Sequence[AdapterSketch]) -> dict[str, list[ModuleSketch]]:
    found: dict[str, list[ModuleSketch]] = {}
    for adapter in adapters:
        for name, module in adapter.modules.items():
            found.setdefault(name, []).append(module)
    return found
