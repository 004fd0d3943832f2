"""The recipe: what to merge, as immutable values. Same meaning as mergekit's YAML (see docs/recipes.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Scalar = bool | int | float | str
Curve = tuple[Scalar, ...]
"""A parameter that changes over the layers of a slice: anchors spread evenly, linear in between."""

EMPTY: Mapping[str, Setting] = MappingProxyType({})


HEAD_CURVES = ("first", "last")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where a parent comes from.

    ``name`` is a Hub id (``owner/name``), ``local:root/folder``, or on the command line a folder.
    ``revision`` is a branch, tag or 40-hex commit; ``adapter`` is a LoRA put on top (``model+lora``).
    """

    name: str
    revision: str | None = None
    adapter: ModelRef | None = None

    def __str__(self) -> str:
        text = self.name if self.revision is None else f"{self.name}@{self.revision}"
        return text if self.adapter is None else f"{text}+{self.adapter}"

    @property
    def is_local(self) -> bool:
        return self.name.startswith("local:")

    @property
    def short(self) -> str:
        """The model's own name, without owner, root, folder or a file's ending."""
        return self.name.rsplit("/", 1)[-1].removesuffix(".safetensors")

    @property
    def unversioned(self) -> str:
        """The names, the adapter's included, without revisions: for people, where commits stand elsewhere."""
        return self.name if self.adapter is None else f"{self.name} + {self.adapter.name}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One value of a setting, for the tensors whose name contains ``filter`` (None or ``*``: for all)."""

    value: Scalar | Curve
    filter: str | None = None


Setting = tuple[Rule, ...]
"""What a parameter is set to: rules, the first matching one wins. A plain number is one rule without a filter."""

Parameters = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Source:
    """One parent inside a slice. ``layers`` is ``(first, end)``, end exclusive; None means all layers."""

    model: ModelRef
    layers: tuple[int, int] | None = None
    parameters: Parameters = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Slice:
    """Layers of the output, made from equally long layer ranges of its sources."""

    sources: tuple[Source, ...]
    base_model: ModelRef | None = None
    parameters: Parameters = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Module:
    """One named part of a multi-part checkpoint (``language_model``, ``encoder``...), merged on its own."""

    models: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    parameters: Parameters = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where one token's embedding row comes from. ``kind``: ``model``, ``model_token`` or ``zero``."""

    kind: str
    model: ModelRef | None = None
    token: str | None = None
    token_id: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRule:
    source: TokenSource | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class TokenizerSpec:
    """How the output vocabulary is made. ``source``: ``union``, ``base`` or a model."""

    source: str | ModelRef = "union"
    tokens: Mapping[str, TokenRule] = field(default_factory=lambda: MappingProxyType({}))
    pad_to_multiple_of: int | None = None
    legacy: bool = False
    """Written as ``tokenizer_source:``, the older key."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One merge. Exactly one of ``models``, ``slices`` and ``modules`` is not empty.

    ``dtype`` and ``out_dtype`` are torch names (``bfloat16``); the engine always computes in fp32 and rounds once,
    to ``out_dtype``, else ``dtype``, else the widest dtype of the parents. ``head_curve``: which value of a curve final
    norm and head take, the first unless it says ``last``.
    """

    merge_method: str
    base_model: ModelRef | None = None
    models: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    modules: Mapping[str, Module] = field(default_factory=lambda: MappingProxyType({}))
    parameters: Parameters = field(default_factory=lambda: EMPTY)
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer: TokenizerSpec | None = None
    chat_template: str | None = None
    head_curve: str | None = None
    seed: int | None = None
    name: str | None = None
    stages: tuple[Recipe, ...] = ()
    """Recipes that this one and later ones use by name, as if their results were models. None has stages itself; each
    uses only those before it."""

    @property
    def documents(self) -> tuple[Recipe, ...]:
        """The stages in order, then this recipe itself."""
        return (*self.stages, self)

    def sources(self) -> Iterator[Source]:
        """Every source, in the order written."""
        yield from self.models
        for piece in self.slices:
            yield from piece.sources
        for module in self.modules.values():
            yield from module.models
            for piece in module.slices:
                yield from piece.sources

    def parents(self) -> tuple[ModelRef, ...]:
        """Every model that goes in, each once: this document's, the base first if there is one, then in the order
        written; then those of the stages."""
        stages = {ModelRef(stage.name) for stage in self.stages if stage.name}
        every = (ref for document in (self, *self.stages) for ref in document.own_parents())
        return tuple(ref for ref in dict.fromkeys(every) if ref not in stages)

    def own_parents(self) -> tuple[ModelRef, ...]:
        """What this document alone refers to, in the same order, names of stages included."""
        bases = [self.base_model] if self.base_model else []
        bases += [piece.base_model for piece in self.slices if piece.base_model]
        for module in self.modules.values():
            bases += [piece.base_model for piece in module.slices if piece.base_model]
        return tuple(dict.fromkeys([*bases, *(source.model for source in self.sources())]))
