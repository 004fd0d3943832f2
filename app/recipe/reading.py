"""Recipe text to a Recipe, with a finding for whatever is wrong, unknown or without effect."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

from app.recipe.catalogue import METHODS, Method
from app.recipe.documents import join_documents, told
from app.recipe.findings import Finding, Refused, did_you_mean, has_errors
from app.recipe.keys import check_keys
from app.recipe.parameters import read_parameters
from app.recipe.references import parse_reference
from app.recipe.requirements import check_requirements
from app.recipe.safe_yaml import load_documents
from app.recipe.schema import HEAD_CURVES, ModelRef, Module, Recipe, Slice, Source
from app.recipe.tokenizer_block import read_tokenizer

MAX_SOURCES = 2000
DTYPES = ("float16", "bfloat16", "float32", "float64")
_UNFINISHED = {"missing-base", "wrong-number-of-parents", "missing-parameter", "one-of-models-slices-modules"}
_TOP = (
    "merge_method", "base_model", "models", "slices", "modules", "parameters", "dtype", "out_dtype", "tokenizer",
    "tokenizer_source", "chat_template", "head_curve", "seed", "name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a text. ``recipe`` is None when there are errors; ``draft`` is the recipe all the same when
    the only errors are that something is still missing, for a form to go on with."""

    recipe: Recipe | None
    findings: tuple[Finding, ...] = ()
    draft: Recipe | None = None


def read_recipe(text: str) -> Reading:
    """Read one recipe. Never raises for bad input; takes time linear in the text, which is capped at 128 KB."""
    try:
        documents = [document for document in load_documents(text) if document is not None]
    except Refused as problem:
        return Reading(None, problem.findings)
    if not documents:
        return _refused("empty-recipe", "", "There is no recipe here yet.", "Pick a method and at least one model.")
    if not all(isinstance(document, dict) for document in documents):
        return _refused("not-a-recipe", "", "A recipe is a list of key: value lines.", "Start with merge_method:.")
    readers = [_Reader(document) for document in documents]
    recipes = [reader.read() for reader in readers]
    recipe, about = join_documents(recipes)
    findings = tuple(chain(*(told(reader.findings, one) for reader, one in zip(readers, recipes, strict=True)), about))
    if len(recipes) == 1:
        findings = tuple(readers[0].findings)
    errors = {finding.code for finding in findings if finding.level == "error"}
    return Reading(None if errors else recipe, findings, recipe if errors <= _UNFINISHED else None)


def _refused(code: str, where: str, text: str, fix: str) -> Reading:
    return Reading(None, (Finding("error", code, where, text, fix),))


class _Reader:
    """Reads one document; collects findings on the way."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.findings: list[Finding] = []
        self.method: Method | None = None
        self._sources = 0

    def read(self) -> Recipe:
        self._keys(self.raw, _TOP, "")
        self.method = self._method(self.raw.get("merge_method"))
        recipe = Recipe(
            merge_method=self.method.name if self.method else "",
            base_model=self._reference(self.raw.get("base_model"), "base_model"),
            models=self._models(self.raw.get("models"), "models", "layer_range" in str(self.raw.get("models"))),
            slices=self._slices(self.raw.get("slices"), "slices"),
            modules=self._modules(self.raw.get("modules")),
            parameters=read_parameters(self.raw.get("parameters"), "parameters", self.method, self.findings),
            dtype=self._dtype("dtype"),
            out_dtype=self._dtype("out_dtype"),
            tokenizer=read_tokenizer(self.raw, self.findings),
            chat_template=self._text("chat_template"),
            head_curve=self._one_of("head_curve", HEAD_CURVES),
            seed=self._seed(),
            name=self._text("name"),
        )
        given = [key for key in ("models", "slices", "modules") if self.raw.get(key) is not None]
        if len(given) != 1:
            found = f"This has {' and '.join(given)}." if given else "This has none of them."
            self._error("one-of-models-slices-modules", "", "A recipe has models, slices or modules. " + found)
        elif self.method and not has_errors(self.findings):
            self.findings.extend(check_requirements(recipe, self.method))
        return recipe

    def _error(self, code: str, where: str, text: str, fix: str = "") -> None:
        self.findings.append(Finding("error", code, where, text, fix))

    def _keys(self, raw: dict[str, Any], known: tuple[str, ...], where: str) -> None:
        self.findings.extend(check_keys(raw, known, where))

    def _method(self, raw: Any) -> Method | None:
        if raw is None:
            self._error("missing-method", "merge_method", "The recipe names no method.", "Add merge_method: linear.")
            return None
        method = METHODS.get(str(raw))
        if method is None:
            guess = did_you_mean(str(raw).replace("-", "_"), METHODS)
            fix = guess or f"Known methods: {', '.join(METHODS)}."
            self._error("unknown-method", "merge_method", f'There is no method "{str(raw)[:60]}".', fix)
        return method

    def _reference(self, raw: Any, where: str) -> ModelRef | None:
        if raw is None:
            return None
        if isinstance(raw, dict):
            self._keys(raw, ("model", "lora", "path", "revision"), where)
        text = _mapping_reference(raw) if isinstance(raw, dict) else str(raw)
        try:
            return parse_reference(text, where)
        except Refused as problem:
            self.findings.extend(problem.findings)
            return None

    def _list(self, raw: Any, where: str) -> list[Any]:
        if raw is None:
            return []
        if not isinstance(raw, list) or not raw:
            self._error("not-a-list", where, f'"{where}" must be a list with at least one entry.', 'Start with "- ".')
            return []
        return raw

    def _models(self, raw: Any, where: str, ranged: bool = False) -> tuple[Source, ...]:
        sources = (self._source(item, f"{where}[{index}]") for index, item in enumerate(self._list(raw, where)))
        models = tuple(source for source in sources if source is not None)
        ranges = {source.layers for source in models if source.layers} if ranged else set()
        text, fix = "layer_range has no meaning under models", "Use slices with sources."
        if len(ranges) > 1 or any(first for first, _ in ranges):
            self._error("layers-outside-slice", where, f"{text}.", fix)
        elif ranges:
            text += ": all layers go in, whatever it says."
            self.findings.append(Finding("warning", "layers-outside-slice", where, text, fix))
        return tuple(replace(source, layers=None) for source in models) if ranges else models

    def _source(self, raw: Any, where: str) -> Source | None:
        self._sources += 1
        if self._sources > MAX_SOURCES:
            if self._sources == MAX_SOURCES + 1:
                self._error("too-many-sources", where, f"A recipe may have at most {MAX_SOURCES} sources.")
            return None
        if not isinstance(raw, dict) or "model" not in raw:
            self._error("missing-model", where, "This entry names no model.", 'Write "- model: owner/name".')
            return None
        self._keys(raw, ("model", "layer_range", "parameters"), where)
        model = self._reference(raw["model"], f"{where}.model")
        if model is None:
            if raw["model"] is None:
                self._error("missing-model", f"{where}.model", "This entry names no model.", "Write owner/name.")
            return None
        layers = self._layers(raw.get("layer_range"), f"{where}.layer_range")
        parameters = read_parameters(raw.get("parameters"), f"{where}.parameters", self.method, self.findings)
        return Source(model, layers, parameters)

    def _layers(self, raw: Any, where: str) -> tuple[int, int] | None:
        if raw is None:
            return None
        ends = [_whole(item) for item in raw] if isinstance(raw, list) else []
        match ends:
            case [int(first), int(end)] if 0 <= first <= end:
                return first, end
        self._error(
            "bad-layer-range", where, f"{raw!r} is not a range of layers.",
            "Write [first, end]; the end is not included: [0, 4] is layers 0 to 3.",
        )  # fmt: skip
        return None

    def _slices(self, raw: Any, where: str) -> tuple[Slice, ...]:
        return tuple(self._slice(item, f"{where}[{index}]") for index, item in enumerate(self._list(raw, where)))

    def _slice(self, raw: Any, where: str) -> Slice:
        if not isinstance(raw, dict):
            self._error("missing-sources", where, "A slice is a list of sources.", 'Write "- sources:".')
            return Slice(())
        self._keys(raw, ("sources", "base_model", "parameters"), where)
        if "sources" not in raw:
            self._error("missing-sources", where, "This slice has no sources.", 'Add "sources:" with models.')
        sources = self._models(raw.get("sources"), f"{where}.sources")
        for index, source in enumerate(sources):
            told = any(one.where == f"{where}.sources[{index}].layer_range" for one in self.findings)
            if source.layers is None and not told:
                fix = "Add layer_range: [first, end]."
                self._error("missing-layer-range", f"{where}.sources[{index}]", "A source needs its layers.", fix)
        lengths = {source.layers[1] - source.layers[0] for source in sources if source.layers}
        if len(lengths) > 1:
            self._error(
                "unequal-slices", where, f"The sources of a slice must be equally long; these have {sorted(lengths)}."
            )
        base = self._reference(raw.get("base_model"), f"{where}.base_model")
        parameters = read_parameters(raw.get("parameters"), f"{where}.parameters", self.method, self.findings)
        return Slice(sources, base, parameters)

    def _modules(self, raw: Any) -> MappingProxyType[str, Module]:
        if raw is None:
            return MappingProxyType({})
        if not isinstance(raw, dict) or not raw:
            self._error("bad-modules", "modules", "Modules are names, each with models or slices.")
            return MappingProxyType({})
        return MappingProxyType({name: self._module(item, f"modules.{name}") for name, item in raw.items()})

    def _module(self, raw: Any, where: str) -> Module:
        if not isinstance(raw, dict) or ("models" in raw) == ("slices" in raw):
            self._error("bad-modules", where, "A module has either models or slices.")
            return Module()
        self._keys(raw, ("models", "slices", "parameters"), where)
        return Module(
            self._models(raw.get("models"), f"{where}.models"),
            self._slices(raw.get("slices"), f"{where}.slices"),
            read_parameters(raw.get("parameters"), f"{where}.parameters", self.method, self.findings),
        )

    def _dtype(self, key: str) -> str | None:
        raw = self.raw.get(key)
        if raw is None:
            return None
        name = str(raw).removeprefix("torch.")
        if name not in DTYPES:
            fix = did_you_mean(name, DTYPES) or f"Known: {', '.join(DTYPES)}."
            self._error("unknown-dtype", key, f'"{name[:40]}" is not a number format a result can have.', fix)
            return None
        return name

    def _one_of(self, key: str, choices: tuple[str, ...]) -> str | None:
        raw = self.raw.get(key)
        if raw is None or raw in choices:
            return raw
        self._error("bad-value", key, f'"{key}" is {" or ".join(choices)}.', did_you_mean(str(raw), choices))
        return None

    def _text(self, key: str) -> str | None:
        raw = self.raw.get(key)
        if raw is None or isinstance(raw, str):
            return raw or None
        self._error("bad-value", key, f'"{key}" must be text.', "Put it in quotes.")
        return None

    def _seed(self) -> int | None:
        raw = self.raw.get("seed")
        if raw is None:
            return None
        if type(raw) is not int or not 0 <= raw < 2**63:
            self._error("bad-seed", "seed", "A seed is a whole number, 0 or more.")
            return None
        return raw


def _whole(raw: Any) -> int | None:
    """A whole number, also one written as text or with a point (``"8"``, ``8.0``)."""
    if isinstance(raw, str) and re.fullmatch(r"[0-9]{1,9}", raw):
        return int(raw)
    if isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return raw if type(raw) is int else None


def _mapping_reference(raw: dict[str, Any]) -> str:
    """The long form ``{model: {path, revision}, lora: {path, revision}}`` as the short one."""
    model = raw.get("model", raw)
    parts = [model, raw["lora"]] if raw.get("lora") else [model]
    return "+".join(_path_and_revision(part) for part in parts)


def _path_and_revision(raw: Any) -> str:
    if not isinstance(raw, dict):
        return str(raw)
    revision = raw.get("revision")
    return str(raw.get("path", "")) + (f"@{revision}" if revision else "")
