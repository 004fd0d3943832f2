"""Several adapters of one base made into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from app.adapting.together import check_together
from app.adapting.wanted import How
from app.recipe.findings import Finding, Refused, has_errors
from worker.lora.files import Made, MadeExperts, adapter_files, settings_of
from worker.lora.loaded import Adapter, expert_of
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
    experts = {name: one.experts for adapter in adapters for name, one in adapter.sketch.modules.items()}
    modules: dict[str, Made] = {}
    kept: dict[str, float] = {}
    for name in dict.fromkeys(name for adapter in adapters for name in adapter.modules):
        numbers = tuple(number for number, adapter in enumerate(adapters) if name in adapter.modules)
        terms = Terms(name, numbers, tuple(adapters[number].modules[name] for number in numbers), how)
        product = merge_module(terms)
        first = terms.modules[0]
        modules[name] = Made(product.up, product.down, first.shape, first.embedding)
        kept[name] = product.kept
        tell(len({one.partition("#")[0] for one in modules}), name)
    whole, least = _together(modules, kept, experts)
    settings = settings_of(whole, _told(adapters, experts))
    files = adapter_files(whole, {}, settings, dtype)
    ranks = {name: one.rank for name, one in whole.items()}
    return MergedAdapter(MappingProxyType(files), ranks, least, tuple(findings))


def _together(
    modules: Mapping[str, Made], kept: Mapping[str, float], experts: Mapping[str, int]
) -> tuple[dict[str, Made | MadeExperts], dict[str, float]]:
    """Experts that were merged one by one as the parameters they are; of what is kept the least of them."""
    names = {name: [expert_of(name, one) for one in range(count)] or [name] for name, count in experts.items()}
    shared = max((modules[one].rank for name, all_of in names.items() if experts[name] for one in all_of), default=0)
    whole = {
        name: MadeExperts(tuple(modules[one] for one in all_of), shared) if experts[name] else modules[name]
        for name, all_of in names.items()
    }
    return whole, {name: min(kept[one] for one in all_of) for name, all_of in names.items()}


def _told(adapters: Sequence[Adapter], experts: Mapping[str, int]) -> dict[str, object]:
    first = adapters[0].settings
    told = {key: first[key] for key in _KEPT if key in first}
    parameters = next((one.sketch.settings.parameters for one in adapters if one.sketch.settings.parameters), ())
    told |= {"target_parameters": list(parameters)} if parameters else {}
    names = [name for name, count in experts.items() if not count]
    asked = [adapter.settings.get("target_modules") for adapter in adapters]
    same = all(adapter.sketch.modules.keys() == experts.keys() for adapter in adapters)
    alike = same and all(isinstance(one, list) and sorted(one) == sorted(asked[0] or ()) for one in asked)
    everywhere = not any(adapters[0].settings.get(key) for key in ("layers_to_transform", "exclude_modules"))
    return {**told, "target_modules": sorted(asked[0] or ()) if alike and everywhere else sorted(names)}
