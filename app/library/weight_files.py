"""Which of a model's files hold its weights: those under the names that libraries look for, or files under names of
their own, as diffusion and audio models have them, with or without a config beside them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from app.planning.adapter_config import ADAPTER_CONFIG
from app.planning.facts import FileFacts
from app.planning.index import INDEX_ENDING, INDEX_FILE
from app.planning.ledger import listed
from app.planning.strict_json import short
from app.recipe.findings import Finding, Refused, refuse

CONFIG = "config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ENDING = ".safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SINGLE = ("model.safetensors", ADAPTER_WEIGHTS)
_DIFFUSERS = "diffusion_pytorch_model.safetensors"
MOST_FILES = 1000
"""Without an index; each one's header is read."""
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors", re.ASCII)


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """``files``, or the ``index`` that names them. ``own_names``: a result's files are called like these."""

    files: tuple[str, ...] = ()
    index: str | None = None
    own_names: bool = False


def find_weights(files: Mapping[str, FileFacts]) -> WeightFiles:
    """Nothing when there are none. Raises Refused when a numbered one is missing, or there are several indexes."""
    if CONFIG in files or ADAPTER_CONFIG in files:
        single = next((name for name in _SINGLE if name in files), None)
        if single is not None:
            return WeightFiles((single,))
        if INDEX_FILE in files:
            return WeightFiles(index=INDEX_FILE)
        if _DIFFUSERS in files:
            return WeightFiles((_DIFFUSERS,), own_names=True)
        if f"{_DIFFUSERS}.index.json" in files:
            return WeightFiles(index=f"{_DIFFUSERS}.index.json", own_names=True)
        numbered = next(_sets(files), ())
        if numbered:
            return WeightFiles(numbered)
    return _under_own_names(files)


def _under_own_names(files: Mapping[str, FileFacts]) -> WeightFiles:
    """What an index names, else every file there is."""
    indexes = [name for name in _plain(files) if name.endswith(INDEX_ENDING)]
    if len(indexes) > 1:
        raise refuse(
            "several-weights", indexes[0], f"There are several indexes of weights here: {listed(indexes)}.",
            "Keep the files of one of them in a folder of its own.",
        )  # fmt: skip
    if indexes:
        return WeightFiles(index=indexes[0], own_names=True)
    for _ in _sets(files):
        pass  # each is looked through for what is missing
    weights = tuple(name for name in _plain(files) if name.endswith(ENDING))
    if len(weights) > MOST_FILES:
        raise refuse(
            "several-weights", weights[0], f"There are {len(weights)} .safetensors files here.",
            "A folder holds one model: name one of the files.",
        )  # fmt: skip
    return WeightFiles(weights, own_names=True)


def _plain(files: Mapping[str, FileFacts]) -> Iterator[str]:
    """The files beside each other: not in folders below, not the hidden ones that systems leave behind."""
    yield from sorted(name for name in files if "/" not in name and "\\" not in name and not name.startswith("."))


def _sets(files: Mapping[str, FileFacts]) -> Iterator[tuple[str, ...]]:
    """Shards that were saved without an index, set by set. Raises Refused when one is missing."""
    found = [match for name in files if (match := _NUMBERED.fullmatch(name)) and int(match[3])]
    for stem, total in dict.fromkeys((match[1], match[3]) for match in found):
        count = int(total)
        most = min(count, len(files) + 1)
        wanted = [f"{stem}-{number:05}-of-{count:05}{ENDING}" for number in range(1, most + 1)]
        missing = next((name for name in wanted if name not in files), None)
        if missing is not None:
            raise refuse(
                "missing-shard", INDEX_FILE, f"The weights are in {count} files, but {missing} is not there.",
                "The checkpoint is incomplete: download it again.",
            )  # fmt: skip
        yield tuple(wanted)


def is_one_model(names: Collection[str]) -> bool:
    """Whether files beside each other, without a config, are one model for sure: an index, or a set by number, or the
    usual name says so."""
    weights = {name for name in names if name.endswith(ENDING) and not name.startswith(".")}
    indexed = any(name.endswith(INDEX_ENDING) for name in names)
    return bool(weights) and (indexed or weights == {"model.safetensors"} or any(map(_NUMBERED.fullmatch, weights)))


def can_be_named(name: str) -> bool:
    """Whether a file of weights can be named in a recipe, where + and @ have a meaning."""
    return name.endswith(ENDING) and not name.startswith(".") and name.isprintable() and not set(name) & set("+@\\")


def doubled(names: list[str], first: str, second: str, own_names: bool) -> Refused:
    """Why two files that both hold these tensors are not read together."""
    told = listed([short(name) for name in names])
    text = f"{told} {'is' if len(names) == 1 else 'are'} both in {first} and in {second}."
    if own_names:
        fix = f"Name one of the files as the model (folder/{first}), or keep only one of them in the folder."
        return refuse("tensor-twice", second, text, fix)
    return refuse("tensor-twice", second, text, "The checkpoint mixes two models: use another version of it.")


def other_format(name: str) -> Finding | None:
    """Why a file of another kind is not read, told from its name alone."""
    if name.lower().endswith(PICKLES):
        return Finding(
            "error", "pickle-weights", name, f"{name} is a file of pickled weights, going by its name.",
            "Pickle files can run any code when they are opened, so they are never read here. Convert it to "
            "safetensors, or look for a safetensors version.",
        )  # fmt: skip
    if name.lower().endswith(".gguf"):
        return Finding(
            "error", "gguf-weights", name, f"{name} holds GGUF weights.",
            "Quantised GGUF files cannot be merged: use the original model.",
        )  # fmt: skip
    return None
