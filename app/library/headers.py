"""What a checkpoint says about itself without its weights: config, small texts, safetensors headers.

Reads in at most three rounds, whatever the source: small files, the beginning of each weight file, and what is left
of long headers. Nothing that is read is executed; pickled weights are recognised and refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from app.library.weight_files import ADAPTER_WEIGHTS, CONFIG, ENDING, PICKLES, doubled, find_weights
from app.planning.adapter_config import ADAPTER_CONFIG
from app.planning.facts import MERGEABLE, FileFacts, OwnNames, TensorFacts
from app.planning.folding import Folded, fold_tensors
from app.planning.header import header_length, parse_header
from app.planning.index import MAX_INDEX, check_index, parse_index
from app.planning.pooling import MAX_SETTINGS, settings_files
from app.planning.strict_json import BadJson, load_object
from app.recipe.findings import Refused, refuse

MAX_CONFIG = 1_000_000
TEXTS: Mapping[str, int] = MappingProxyType(
    {
        "generation_config.json": 1_000_000,
        "tokenizer_config.json": 8_000_000,
        "special_tokens_map.json": 1_000_000,
        "chat_template.jinja": 1_000_000,
        "preprocessor_config.json": 1_000_000,
        "processor_config.json": 1_000_000,
        "video_preprocessor_config.json": 1_000_000,
        ADAPTER_CONFIG: 1_000_000,
    }
)
"""Small files that are read along with the config, and the bytes accepted of each."""
MAX_TEXT = 64_000_000
FIRST_LOOK = 32_768
"""Bytes read of the beginning of a weight file: most headers of sharded models are shorter."""
_PICKLED = re.compile(r"(pytorch_model|model|consolidated|adapter_model).*\.(bin|pt|pth|ckpt|pkl)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes ``[begin, end)`` of a file."""

    file: str
    begin: int
    end: int


class ModelFiles(Protocol):
    """Where a model's files can be read from: a folder, or a repository on the Hub."""

    @property
    def files(self) -> Mapping[str, FileFacts]: ...

    def read(self, pieces: list[Piece]) -> list[bytes]:
        """The bytes of each piece, in order. Raises Refused."""


@dataclass(frozen=True)
class Contents:
    """What was read. ``config`` is empty where there is none; ``folded`` None where all tensors differ; ``own_names``
    None for weights under the names that libraries look for."""

    config: Mapping[str, Any]
    tensors: Mapping[str, TensorFacts]
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    folded: Folded | None = None
    own_names: OwnNames | None = None


def read_adapter(source: ModelFiles) -> Contents:
    """Read an adapter's settings and header, whatever else lies beside them. Raises Refused likewise."""
    files = source.files
    if ADAPTER_CONFIG not in files:
        raise refuse(
            "no-adapter", ADAPTER_CONFIG, f"There is no {ADAPTER_CONFIG}, so this is not an adapter.",
            "After the + stands a LoRA adapter in PEFT's format.",
        )  # fmt: skip
    if ADAPTER_WEIGHTS not in files:
        raise _no_weights(source)
    raw = _read_small(source, [name for name in TEXTS if name in files])
    tensors = _read_headers(source, [ADAPTER_WEIGHTS])
    texts = {name: _text(content, name) for name, content in raw.items()}
    return Contents(MappingProxyType({}), MappingProxyType(tensors), MappingProxyType(texts))


def read_model(source: ModelFiles) -> Contents:
    """Read a checkpoint's headers. Raises Refused: what is missing, damaged, too large, pickled or quantised."""
    weights = find_weights(source.files)
    small = [name for name in (CONFIG, *TEXTS) if name in source.files] + settings_files(source.files)
    raw = _read_small(source, [*small, *([weights.index] if weights.index else [])])
    weight_map = parse_index(raw[weights.index], source.files, weights.index) if weights.index else {}
    shards = list(dict.fromkeys(weight_map.values())) or list(weights.files)
    if not shards:
        raise _no_weights(source)
    tensors = _read_headers(source, shards, weights.own_names)
    if weights.index:
        check_index(weight_map, tensors, weights.index)
    config = _object(raw[CONFIG], CONFIG) if CONFIG in raw else {}
    _check_quantised(config, tensors)
    texts = {name: _text(raw[name], name) for name in small if name != CONFIG}
    own_names = OwnNames(weights.index) if weights.own_names else None
    held = (MappingProxyType(config), MappingProxyType(tensors), MappingProxyType(texts))
    return Contents(*held, fold_tensors(tensors), own_names)


def read_text(source: ModelFiles, name: str) -> str:
    """A larger text file, such as tokenizer.json. Raises Refused."""
    size = source.files[name].size
    if size > MAX_TEXT:
        raise refuse(
            "file-too-large", name, f"{name} has {size:,} bytes; {MAX_TEXT:,} are accepted.",
            "Use another version of the model.",
        )  # fmt: skip
    return _text(source.read([Piece(name, 0, size)])[0], name)


def _read_small(source: ModelFiles, names: list[str]) -> dict[str, bytes]:
    """Whole small files, refused when they are too large to be what they say."""
    caps = {CONFIG: MAX_CONFIG, **dict.fromkeys(settings_files(names), MAX_SETTINGS), **TEXTS}
    for name in names:
        most = caps.get(name, MAX_INDEX)
        if source.files[name].size > most:
            raise refuse(
                "file-too-large", name, f"{name} has {source.files[name].size:,} bytes; {most:,} are accepted.",
                "Such a file holds a few kilobytes: this one is damaged or something else.",
            )  # fmt: skip
    read = source.read([Piece(name, 0, source.files[name].size) for name in names])
    return dict(zip(names, read, strict=True))


def _read_headers(source: ModelFiles, shards: list[str], own_names: bool = False) -> dict[str, TensorFacts]:
    sizes = {shard: source.files[shard].size for shard in shards}
    beginnings = source.read([Piece(shard, 0, min(FIRST_LOOK, sizes[shard])) for shard in shards])
    raw = dict(zip(shards, beginnings, strict=True))
    ends = {shard: 8 + header_length(raw[shard][:8], shard, sizes[shard]) for shard in shards}
    long = [shard for shard in shards if ends[shard] > len(raw[shard]) == min(FIRST_LOOK, sizes[shard])]
    for shard, rest in zip(long, source.read([Piece(one, FIRST_LOOK, ends[one]) for one in long]), strict=True):
        raw[shard] += rest
    tensors: dict[str, TensorFacts] = {}
    for shard in shards:
        found = parse_header(raw[shard][: ends[shard]], shard, sizes[shard])
        twice = [name for name in found if name in tensors]
        if twice:
            raise doubled(twice, tensors[twice[0]].file, shard, own_names)
        tensors |= found
    return tensors


def _no_weights(source: ModelFiles) -> Refused:
    """Why there are no safetensors: by a look at the first bytes of what is there, which is never loaded."""
    pickled = next((name for name in sorted(source.files) if _PICKLED.fullmatch(name)), None) or _largest_pickle(source)
    if pickled is not None:
        try:
            header_length(source.read([Piece(pickled, 0, 8)])[0], pickled, source.files[pickled].size)
        except Refused as refused:
            if refused.findings[0].code != "bad-header":
                return refused
    gguf = next((name for name in sorted(source.files) if name.lower().endswith(".gguf")), None)
    if gguf is not None:
        return refuse(
            "gguf-weights", gguf, f"There are only GGUF weights ({gguf}).",
            "Quantised GGUF files cannot be merged: use the original model.",
        )  # fmt: skip
    other = sorted(name for name in source.files if name.endswith(PICKLES))
    found = f" There is {', '.join(other[:3])}." if other else ""
    below = next((name for name in sorted(source.files) if "/" in name and name.endswith(ENDING)), None)
    if below is not None:
        return refuse(
            "no-weights", below, f"There are weights only in folders of it, such as {below}.",
            "Fetch it and name one of these folders, or a file in it, as a local model.",
        )  # fmt: skip
    if CONFIG not in source.files and ADAPTER_CONFIG not in source.files:
        return refuse(
            "no-config", CONFIG, f"There is neither a {CONFIG} nor a {ENDING} file, so this is not a model that can be "
            f"read.{found}", "Name the folder or repository that holds the weights, or a .safetensors file.",
        )  # fmt: skip
    return refuse(
        "no-weights", "model.safetensors", f"There are no weights that can be read.{found}",
        "A model has model.safetensors, or other .safetensors files with or without an index.",
    )  # fmt: skip


def _largest_pickle(source: ModelFiles) -> str | None:
    """Training leaves small pickled files beside the weights."""
    found = [name for name in source.files if name.lower().endswith(PICKLES)]
    return max(found, key=lambda name: source.files[name].size, default=None)


def _check_quantised(config: Mapping[str, Any], tensors: Mapping[str, TensorFacts]) -> None:
    """Packed or 8-bit weights cannot be averaged; say so now. Integer buffers beside ordinary weights are fine."""
    packed = [one for one in tensors.values() if one.dtype not in MERGEABLE and len(one.shape) > 1]
    ordinary = any(one.dtype in MERGEABLE and len(one.shape) > 1 for one in tensors.values())
    settings = config.get("quantization_config")
    if packed and (isinstance(settings, dict) or not ordinary):
        named = settings.get("quant_method") if isinstance(settings, dict) else None
        how = f" with {named}" if isinstance(named, str) and named.isprintable() and len(named) < 40 else ""
        raise refuse(
            "quantised-weights", packed[0].name,
            f"The weights are quantised{how}: {packed[0].name} is {packed[0].dtype}.",
            "Use the version of the model in BF16, F16 or F32 that it was made from.",
        )  # fmt: skip


def _object(raw: bytes, name: str) -> dict[str, Any]:
    try:
        return load_object(raw, infinite=True)  # some configs have bounds of Infinity
    except BadJson as error:
        raise refuse("bad-config", name, f"{name} {error}.", "Repair the file, or use another version.") from error


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse("bad-config", name, f"{name} is not UTF-8 text.", "Use another version of the model.") from error
