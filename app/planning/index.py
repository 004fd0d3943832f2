"""The index of a sharded checkpoint (``model.safetensors.index.json``, or called after other weights): which tensor
lies in which file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from app.planning.facts import TensorFacts
from app.planning.strict_json import BadJson, load_object, short
from app.recipe.findings import Refused, refuse

INDEX_FILE = "model.safetensors.index.json"
INDEX_ENDING = ".safetensors.index.json"
MAX_INDEX = 32_000_000
"""Bytes of an index accepted."""
SHARD_NAME = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_ASK = "Tell the model's author, or use another version of the model."


def index_among(names: Iterable[str]) -> str | None:
    """The index among a checkpoint's files, if it has one."""
    return next((name for name in sorted(names) if name.endswith(INDEX_ENDING) and "/" not in name), None)


def parse_index(raw: bytes, listed: Collection[str], file: str = INDEX_FILE) -> dict[str, str]:
    """Tensor name -> shard file. ``listed`` are the files the model really has, ``file`` is the index's own name.

    A shard is a plain file name beside the index, never a path. Raises Refused: ``bad-index``, ``missing-shard`` or
    ``pickle-weights``.
    """
    if len(raw) > MAX_INDEX:
        raise _bad(file, f"is {len(raw)} bytes long; more than {MAX_INDEX} are not accepted")
    try:
        weight_map = load_object(raw).get("weight_map")
    except BadJson as error:
        raise _bad(file, str(error)) from error
    if not isinstance(weight_map, dict) or not weight_map:
        raise _bad(file, "has no weight_map that says which tensor lies in which file")
    shards: dict[str, None] = {}
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise _bad(file, f"gives {short(shard)} instead of a file for tensor {short(tensor)}")
        shards[shard] = None
    for shard in shards:
        _check_shard(shard, listed, file)
    return weight_map


def check_index(weight_map: Mapping[str, str], tensors: Mapping[str, TensorFacts], file: str = INDEX_FILE) -> None:
    """Every tensor must be in the shard that the index names. Raises Refused (``tensor-not-in-shard``)."""
    lost = [name for name, shard in weight_map.items() if name not in tensors or tensors[name].file != shard]
    if lost:
        more = f" and {len(lost) - 1} more tensors are" if len(lost) > 1 else " is"
        raise refuse(
            "tensor-not-in-shard",
            weight_map[lost[0]],
            f"{short(lost[0])}{more} not in the file that {file} names for it ({weight_map[lost[0]]}).",
            f"The checkpoint is incomplete or mixed up: download it again. {_ASK}",
        )


def _check_shard(shard: str, listed: Collection[str], file: str) -> None:
    if shard.lower().endswith(_PICKLES):
        raise refuse(
            "pickle-weights", file, f"{file} names pickled weights ({short(shard)}).",
            "Pickle files can run any code when they are opened, so they are never read here. "
            "Convert the model to safetensors.",
        )  # fmt: skip
    if not SHARD_NAME.fullmatch(shard):
        raise _bad(file, f'names "{short(shard)}" as a shard; a shard is a .safetensors file in the same folder')
    if shard not in listed:
        raise refuse(
            "missing-shard", file, f"The model has no file {shard}, which {file} names as a shard.",
            f"The checkpoint is incomplete. {_ASK}",
        )  # fmt: skip


def _bad(file: str, what: str) -> Refused:
    return refuse("bad-index", file, f"{file} {what}.", _ASK)
