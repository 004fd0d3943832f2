"""Embedding models: how tokens become one vector, which sentence-transformers keeps beside the weights.

``modules.json`` lists the steps. The first is the model itself; each further one has a folder of its own, such as
``1_Pooling`` with a ``config.json``, a ``2_Dense`` also with weights. They name classes, which are imported where the
model is loaded, so only sentence-transformers' own and torch.nn's are let through.

Format: the files that ``SentenceTransformer.save`` writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.planning.config_repair import clean_tokenizer_config
from app.planning.facts import ModelFacts
from app.planning.ledger import listed
from app.planning.strict_json import BadJson, depth, load_object, short
from app.recipe.findings import Finding

MODULES = "modules.json"
MAX_SETTINGS = 1_000_000
"""Bytes accepted of each of these JSON files."""
MAX_WEIGHTS = 512_000_000
"""Bytes accepted of the weights of one step."""
MOST_STEPS = 20
_SETTINGS = re.compile(r"config_sentence_transformers\.json|sentence_[a-z-]{1,24}_config\.json", re.ASCII)
STEP = re.compile(r"[0-9]{1,2}_[A-Za-z]\w{0,40}", re.ASCII)
"""The folder of a step."""
_OWN_CLASS = re.compile(r"sentence_transformers(\.\w+)+", re.ASCII)
_TORCH_CLASS = re.compile(r"torch\.nn(\.\w+)+", re.ASCII)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+", re.ASCII)
_MODE = re.compile(r"pooling_mode(?:_(\w+?)(?:_tokens?)?)?", re.ASCII)
_DEEPEST = 8
_WEIGHTS = "model.safetensors"
_BY_HAND = "Copy it into the result by hand if you trust it."


@dataclass
class Pooling:
    """``files`` to copy from the model, ``texts`` to write, and remarks."""

    files: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class _Refused(Exception):
    """Why something is not taken over, in words."""


def settings_files(names: Iterable[str]) -> list[str]:
    """The small files to read of a model, none if it is no embedding model."""
    listed_names = sorted(names)
    if MODULES not in listed_names:
        return []
    return [name for name in listed_names if name == MODULES or _SETTINGS.fullmatch(name) or _is_of_step(name)]


def _is_of_step(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file == "config.json" and STEP.fullmatch(folder) is not None


def pooling(donor: int, parents: Sequence[ModelFacts]) -> Pooling:
    """What the result takes over from its donor. Nothing where that is no embedding model, or not a plain one."""
    facts = parents[donor]
    names = {file.name for file in facts.files}
    if MODULES not in names:
        return Pooling()
    found = Pooling()
    try:
        steps = _steps(facts)
        for name in settings_files(names):
            found.texts[name] = _cleaned(name, facts) if name != MODULES else facts.texts[MODULES]
    except _Refused as why:
        text = f"How {facts.ref} makes one vector of many tokens is not taken over: {why}"
        return Pooling(findings=[Finding("warning", "pooling-left-out", MODULES, text, _BY_HAND)])
    found.texts = {name: text for name, text in found.texts.items() if "/" not in name or name.split("/")[0] in steps}
    for step in steps:
        _take_weights(step, facts, found)
    found.findings += [*_told(donor, parents, found), *_unlike(donor, parents, found)]
    return found


def _steps(facts: ModelFacts) -> list[str]:
    """The folders that modules.json names. Raises _Refused."""
    try:
        content = load_object(b'{"steps": ' + facts.texts.get(MODULES, "").encode() + b"}")["steps"]
    except (BadJson, UnicodeEncodeError) as error:
        raise _Refused(f"{MODULES} cannot be read.") from error
    if not isinstance(content, list) or not 0 < len(content) <= MOST_STEPS:
        raise _Refused(f"{MODULES} is not a list of steps.")
    steps = []
    for one in content:
        path, kind = (one.get("path"), one.get("type")) if isinstance(one, dict) else (None, None)
        if not isinstance(kind, str) or not _OWN_CLASS.fullmatch(kind):
            raise _Refused(f"{MODULES} names {short(kind)}, which is no class of sentence-transformers.")
        if not isinstance(path, str) or (path and not STEP.fullmatch(path)):
            raise _Refused(f"{MODULES} names {short(path)}, which is not the folder of a step.")
        steps += [path] if path else []
    return steps


def _cleaned(name: str, facts: ModelFacts) -> str:
    """A settings file without keys that name code or how to load it. Raises _Refused."""
    try:
        content = load_object(facts.texts.get(name, "").encode())
    except (BadJson, UnicodeEncodeError) as error:
        raise _Refused(f"{name} cannot be read.") from error
    if depth(content) > _DEEPEST:
        raise _Refused(f"{name} is nested too deeply.")
    if "/" in name:
        strange = next(
            (one for one in _words(content) if _DOTTED.fullmatch(one) and not _TORCH_CLASS.fullmatch(one)), None
        )
        if strange is not None:
            raise _Refused(f"{name} names {short(strange)}, which is no class of torch.nn.")
    version = content.pop("__version__", None)
    kept, _ = clean_tokenizer_config(
        {key: one for key, one in content.items() if not key.endswith(("_args", "_kwargs"))}
    )
    return json.dumps({**({"__version__": version} if version else {}), **kept}, indent=2) + "\n"


def _words(content: dict[str, Any]) -> Iterator[str]:
    """Every text in plain JSON that is no prompt."""
    waiting: list[Any] = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one


def _take_weights(step: str, facts: ModelFacts, found: Pooling) -> None:
    sizes = {file.name: file.size for file in facts.files if file.name.startswith(f"{step}/")}
    weights = f"{step}/{_WEIGHTS}"
    if weights in sizes and sizes[weights] <= MAX_WEIGHTS:
        found.files.append(weights)
    elif left_out := [name for name in sizes if name not in found.texts]:
        text = f"{listed([short(name) for name in left_out])} of {facts.ref}: neither settings nor small safetensors, "
        text += "and not taken over. The result does not load with sentence-transformers without it."
        found.findings.append(Finding("warning", "pooling-left-out", left_out[0], text, _BY_HAND))


def _told(donor: int, parents: Sequence[ModelFacts], found: Pooling) -> Iterator[Finding]:
    ref = parents[donor].ref
    text = f"How tokens become one vector (pooling, prompts) is taken over from {ref}."
    yield Finding("info", "pooling-taken-over", MODULES, text)
    if found.files:
        text = f"The weights in {listed([name.split('/')[0] for name in found.files])} are those of {ref}, not merged."
        fix = "If the other parents were trained with other ones, the result's vectors may suffer: measure it."
        yield Finding("warning", "step-not-merged", found.files[0], text, fix)


def _unlike(donor: int, parents: Sequence[ModelFacts], found: Pooling) -> Iterator[Finding]:
    """Parents that were trained to make their vectors in another way."""
    for facts in parents:
        theirs = {name for name in facts.texts if name == MODULES or _is_of_step(name)}
        mine = {name for name in found.texts if name == MODULES or _is_of_step(name)}
        other = next(
            (name for name in sorted(theirs & mine) if not _alike(facts.texts[name], parents[donor].texts[name])), None
        )
        if other is not None:
            text = f"{facts.ref} makes its vectors otherwise than {parents[donor].ref}: {other} differs."
            yield Finding("warning", "pooling-differs", other, text, "Merge embedding models that pool alike.")


def _alike(one: str, other: str) -> bool:
    """Whether two files say the same, whichever version wrote them."""
    try:
        a, b = json.loads(one), json.loads(other)
    except (ValueError, RecursionError):
        return one == other
    if isinstance(a, list) and isinstance(b, list):
        return [_step(each) for each in a] == [_step(each) for each in b]
    if not isinstance(a, dict) or not isinstance(b, dict):
        return bool(a == b)
    return _modes(a) == _modes(b) and all(a[key] == b[key] for key in a.keys() & b.keys() if not _MODE.fullmatch(key))


def _step(one: object) -> object:
    """A step's folder and the class's own name: where classes lie changes from version to version."""
    return (one.get("path"), str(one.get("type")).rpartition(".")[2]) if isinstance(one, dict) else one


def _modes(config: Mapping[str, Any]) -> set[str]:
    """``{"mean"}`` of ``pooling_mode: mean``, and of ``pooling_mode_mean_tokens: true`` as it was written before."""
    said = {str(config["pooling_mode"])} if "pooling_mode" in config else set()
    matches = (match for key, value in config.items() if value is True and (match := _MODE.fullmatch(key)))
    return said | {match[1] for match in matches if match[1]}
