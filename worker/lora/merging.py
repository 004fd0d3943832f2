"""Several adapters of one base made into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from app.planning.ledger import listed
from app.planning.strict_json import short
from app.recipe.findings import Finding, Refused, has_errors
from worker.lora.files import Made, adapter_files, settings_of
from worker.lora.loaded import Adapter, LoraModule
from worker.lora.methods import How, Terms, merge_module

_KEPT = ("base_model_name_or_path", "revision", "task_type", "fan_in_fan_out")
"""Settings that the result has from the first adapter."""


@dataclass(frozen=True)
class MergedAdapter:
    """``files``: name -> content. ``ranks`` and ``kept`` (share of the exact sum's squares) by module."""

    files: Mapping[str, bytes]
    ranks: Mapping[str, int]
    kept: Mapping[str, float]
    findings: tuple[Finding, ...]


def merge_adapters(adapters: Sequence[Adapter], how: How, dtype: str = "float32") -> MergedAdapter:
    """A module that an adapter lacks counts as no change. Raises Refused with everything that does not fit."""
    findings = [*_check(adapters, how), *_same_shapes(adapters)]
    if has_errors(findings):
        raise Refused(one for one in findings if one.level == "error")
    names = list(dict.fromkeys(name for adapter in adapters for name in adapter.modules))
    modules: dict[str, Made] = {}
    kept: dict[str, float] = {}
    for name in names:
        numbers = tuple(number for number, adapter in enumerate(adapters) if name in adapter.modules)
        terms = Terms(name, numbers, tuple(adapters[number].modules[name] for number in numbers), how)
        product = merge_module(terms)
        first = terms.modules[0]
        modules[name] = Made(product.up, product.down, first.shape, first.embedding)
        kept[name] = product.kept
    settings = settings_of(modules, _told(adapters, names))
    files = adapter_files(modules, {}, settings, dtype)
    ranks = {name: one.rank for name, one in modules.items()}
    return MergedAdapter(MappingProxyType(files), ranks, kept, tuple(findings))


def _told(adapters: Sequence[Adapter], names: Sequence[str]) -> dict[str, object]:
    first = adapters[0].settings
    told = {key: first[key] for key in _KEPT if key in first}
    asked = [adapter.settings.get("target_modules") for adapter in adapters]
    same = all(set(adapter.modules) == set(names) for adapter in adapters)
    alike = same and all(isinstance(one, list) and sorted(one) == sorted(asked[0] or ()) for one in asked)
    everywhere = not any(adapters[0].settings.get(key) for key in ("layers_to_transform", "exclude_modules"))
    return {**told, "target_modules": sorted(asked[0] or ()) if alike and everywhere else sorted(names)}


def _check(adapters: Sequence[Adapter], how: How) -> Iterator[Finding]:
    if how.method == "cat" and how.rank is not None:
        text = "cat keeps everything, so its rank is the sum of all ranks."
        yield Finding("error", "rank-not-free", "--rank", text, "Use svd to choose a rank.")
    if how.method == "factor_linear":
        yield from _check_factors(adapters, how)
    if how.normalize and sum(how.weights) == 0:
        text = "The weights add up to 0, so nothing can be divided by them."
        yield Finding("error", "weights-add-up-to-nothing", "--weights", text, "Change them, or use --no-normalize.")
    bases = {str(one.settings.get("base_model_name_or_path") or "") for one in adapters} - {""}
    if len(bases) > 1:
        text = f"The adapters say they were made for different models: {listed([short(one) for one in sorted(bases)])}."
        yield Finding("warning", "adapter-of-another-base", "", text, "The result fits only what both fit.")
    flags = {one.settings.get("fan_in_fan_out") is True for one in adapters}
    if len(flags) > 1:
        text = "Some adapters are for matrices stored the other way round (fan_in_fan_out), others are not."
        yield Finding("error", "adapter-shape", "", text, "Merge adapters of one base.")


def _check_factors(adapters: Sequence[Adapter], how: How) -> Iterator[Finding]:
    if how.rank is not None:
        yield Finding("error", "rank-not-free", "--rank", "factor_linear keeps the adapters' rank.", "Leave it out.")
    ranks: dict[str, set[int]] = {}
    for adapter in adapters:
        for name, module in adapter.modules.items():
            ranks.setdefault(name, set()).add(module.rank)
    unlike = next((name for name, found in ranks.items() if len(found) > 1), None)
    if unlike is not None:
        text = f"factor_linear adds up factors, and those of {short(unlike)} have different ranks."
        yield Finding("error", "adapter-rank", unlike, text, "Use linear, svd or cat.")


def _same_shapes(adapters: Sequence[Adapter]) -> Iterator[Finding]:
    """Errors where the same module has other sizes in another adapter."""
    seen: dict[str, tuple[str, LoraModule]] = {}
    for adapter in adapters:
        for name, module in adapter.modules.items():
            ref, first = seen.setdefault(name, (adapter.ref, module))
            if _size(first) != _size(module):
                text = f"{short(name)} is {_told_size(first)} in {ref}, {_told_size(module)} in {adapter.ref}."
                yield Finding("error", "adapter-shape", name, text, "Merge adapters of one base.")
                return


def _size(module: LoraModule) -> tuple[object, ...]:
    return module.up.shape[0], module.shape, module.embedding


def _told_size(module: LoraModule) -> str:
    return " × ".join(map(str, (module.up.shape[0], *module.shape)))
