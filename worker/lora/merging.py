"""Several adapters of one base made into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from app.adapting.together import check_together
from app.adapting.wanted import How
from app.recipe.findings import Finding, Refused, has_errors
from worker.lora.files import Made, adapter_files, settings_of
from worker.lora.loaded import Adapter
from worker.lora.methods import Terms, merge_module

_KEPT = ("base_model_name_or_path", "revision", "task_type", "fan_in_fan_out")
"""Settings that the result has from the first adapter."""


@dataclass(frozen=True)
class MergedAdapter:
    """``files``: name -> content. ``ranks`` and ``kept`` (share of the exact sum's squares) by module."""

    files: Mapping[str, bytes]
    ranks: Mapping[str, int]
    kept: Mapping[str, float]
    findings: tuple[Finding, ...]


def merge_adapters(
    adapters: Sequence[Adapter], how: How, dtype: str = "float32", tell: Callable[[int, str], None] = lambda *_: None
) -> MergedAdapter:
    """A module that an adapter lacks counts as no change. ``tell(modules, name)`` after each module.

    Raises Refused with everything that does not fit.
    """
    findings = list(check_together([one.sketch for one in adapters], how))
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
        tell(len(modules), name)
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
