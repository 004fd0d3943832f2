"""A model's facts, and a search's hits, as the pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.hub.client import ModelHit
from app.planning.adapter_config import ADAPTER_CONFIG, is_adapter, made_for
from app.planning.adapters import about_adapter
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.layers import module_of, position, read_structure
from app.web.model_summary import adapter_summary, config_summary
from app.web.pages.parent_cards import DTYPE_WORDS, facts_line
from app.web.rendering import number, short_number

_LOCAL = "local:"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A model or an adapter to pick: its reference and one line about it."""

    ref: str
    about: str
    adapter: bool


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """All tensors of one module: how many, over how many layers, their shapes, dtypes and bytes."""

    name: str
    tensors: int
    layers: int
    shapes: str
    dtypes: str
    parameters: int
    size: int


@dataclass(frozen=True)
class ModelPage:
    """The context ``view`` of ``pages/model.html``."""

    facts: ModelFacts
    line: str
    adapter: str
    address: str
    config: tuple[tuple[str, str], ...]
    modules: tuple[ModuleRow, ...]
    size: int
    layers: int

    @property
    def alone(self) -> bool:
        """Whether it is an adapter without a model."""
        return is_adapter(self.facts)

    @property
    def weights_only(self) -> bool:
        """Whether it has no config, so that only tensors are known of it."""
        return not self.facts.config and not self.alone

    @property
    def made_for(self) -> str:
        """The Hub id of the model that an adapter on its own says it was made for; empty when it tells of none."""
        return (made_for(self.facts) or "") if self.alone else ""


def suggestions(hits: Sequence[ModelHit], model: str = "") -> tuple[Suggestion, ...]:
    """Models first, then adapters. ``model``: what the adapters are to be put on."""
    put_on = f"{model}+" if model else ""
    found = (Suggestion(put_on + hit.id, _about(hit), hit.adapter and not model) for hit in hits)
    return tuple(sorted(found, key=lambda one: one.adapter))


def _about(hit: ModelHit) -> str:
    if hit.id.startswith(_LOCAL):
        return "adapter · on this machine" if hit.adapter else "on this machine"
    parts = [
        "adapter" if hit.adapter else "",
        short_number(hit.parameters) if hit.parameters else "",
        DTYPE_WORDS.get(hit.dtype, hit.dtype) if hit.dtype else "",
        hit.licence or "",
        f"{short_number(hit.downloads)} downloads" if hit.downloads is not None else "",
        "gated" if hit.gated else "",
        "private" if hit.private else "",
    ]
    return " · ".join(part for part in parts if part)


def model_page(facts: ModelFacts, hub: str | None) -> ModelPage:
    """``hub``: the address of the Hub it comes from, None for a local folder."""
    name = facts.ref.partition("+")[0].partition("@")[0]
    return ModelPage(
        facts=facts,
        line=facts_line(facts),
        adapter=about_adapter(facts),
        address=f"{hub}/{name}" if hub else "",
        config=tuple((key, _plain(value)) for key, value in _config(facts).items()),
        modules=_modules(facts),
        size=sum(tensor.nbytes for tensor in facts.tensors.values()),
        layers=read_structure(facts).layers,
    )


def _config(facts: ModelFacts) -> Mapping[str, object]:
    return adapter_summary(facts.texts[ADAPTER_CONFIG]) if is_adapter(facts) else config_summary(facts.config)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return number(value) if isinstance(value, int) else str(value)


def _modules(facts: ModelFacts) -> tuple[ModuleRow, ...]:
    """Tensors by module; the modules of the layers first, as they come, then what lies outside."""
    structure = read_structure(facts)
    groups: dict[tuple[bool, str], list[TensorFacts]] = {}
    for name, tensor in facts.tensors.items():
        outside = structure.place(name).layer is None
        groups.setdefault((outside, module_of(name)), []).append(tensor)
    return tuple(_row(module, tensors) for (_, module), tensors in sorted(groups.items(), key=lambda item: item[0][0]))


def _row(module: str, tensors: Sequence[TensorFacts]) -> ModuleRow:
    shapes = list(dict.fromkeys(" × ".join(map(str, tensor.shape)) or "scalar" for tensor in tensors))
    layers = {position(tensor.name).layer for tensor in tensors} - {None}
    return ModuleRow(
        name=module,
        tensors=len(tensors),
        layers=len(layers),
        shapes=", ".join(shapes[:3]) + (" …" if len(shapes) > 3 else ""),
        dtypes=", ".join(dict.fromkeys(DTYPE_WORDS.get(tensor.dtype, tensor.dtype) for tensor in tensors)),
        parameters=sum(tensor.elements for tensor in tensors),
        size=sum(tensor.nbytes for tensor in tensors),
    )
