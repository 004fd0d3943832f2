"""Files the result takes over from the donor: by an allow-list, and never with anything that names code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.planning.chat_templates import CHAT_TEMPLATE, chosen_template
from app.planning.config_repair import clean_tokenizer_config
from app.planning.facts import ModelFacts
from app.planning.join_vocabularies import Joined, NewTokenizer
from app.planning.parents import DEEPEST, Parents
from app.planning.plan import Carry
from app.planning.pooling import pooling
from app.planning.strict_json import BadJson, depth, load_object
from app.planning.token_ids import renumber
from app.planning.tokenizer_file import TOKENIZER
from app.recipe.findings import Finding

Edit = Callable[[dict[str, Any]], dict[str, Any]]

ALLOWED = frozenset(
    {
        "tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
        "merges.txt", "chat_template.jinja", "chat_template.json", "spiece.model", "sentencepiece.bpe.model",
    }
)  # fmt: skip
CLEANED = frozenset(
    {
        "tokenizer_config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
        "video_preprocessor_config.json",
    }
)  # fmt: skip
"""Taken over too, without keys that name code; so their text must be known."""
LICENCE_FILE = re.compile(r"(LICEN[CS]E|NOTICE)([-_][\w-]{1,60})?(\.(txt|md|rst))?", re.ASCII | re.IGNORECASE)
OF_TOKENIZER = ALLOWED | {"tokenizer_config.json"}
"""Files that go together: a tokenizer is taken from one model."""
_VOCABULARIES = frozenset(
    {"tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model"}
)
"""Older files that hold a vocabulary."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Files to copy unchanged, files to write, and remarks."""

    carries: tuple[Carry, ...]
    texts: Mapping[str, str]
    findings: tuple[Finding, ...] = ()


def carried_files(
    donor: int, parents: Sequence[ModelFacts], template: str | None, joined: Joined | None = None
) -> Carried:
    """What comes along with the weights. ``template`` is the recipe's ``chat_template``. With a joined vocabulary the
    tokenizer's files are its owner's, brought up to date. Raises Refused if ``template`` is a name that is not known.
    """
    chosen = None if template is None else chosen_template(template, parents)
    owner = donor if joined is None else joined.vocabulary.owner
    new = None if joined is None else joined.tokenizer
    pooled = pooling(donor, parents)
    carries = [Carry(donor, name) for name in pooled.files]
    texts = dict(pooled.texts)
    findings = pooled.findings
    for parent, name in _wanted(donor, owner, parents):
        facts = parents[parent]
        if name in CLEANED:
            cleaned = _cleaned(name, facts.texts.get(name), chosen is not None, _edit(name, donor, parents, joined))
            if cleaned is None:
                findings.append(_unreadable(name, facts.ref))
            elif cleaned == "":
                carries.append(Carry(parent, name))
            else:
                texts[name] = cleaned
        elif new is not None and name in ("added_tokens.json", TOKENIZER):
            texts[name] = new.text if name == TOKENIZER else _added_tokens(new)
        elif new is not None and new.retrained and name in _VOCABULARIES:
            findings.append(_outdated(name, facts.ref))
        elif is_carried(name) and not (chosen is not None and name.startswith("chat_template.")):
            carries.append(Carry(parent, name))
    if chosen is not None:
        texts[CHAT_TEMPLATE] = chosen.encode("utf-8", "replace").decode()
    return Carried(tuple(carries), texts, tuple(findings))


def licences(donor: int, parents: Sequence[ModelFacts]) -> Carried:
    """What comes along with weights that have no config."""
    names = sorted(file.name for file in parents[donor].files if LICENCE_FILE.fullmatch(file.name))
    return Carried(tuple(Carry(donor, name) for name in names), {})


def where_it_lies(carry: Carry, parents: Parents) -> Carry:
    """A file of a parent with an adapter may be the adapter's."""
    lies_there = any(file.name == carry.file and file.of_adapter for file in parents.facts[carry.parent].files)
    return replace(carry, parent=parents.adapters[carry.parent]) if lies_there else carry


def _wanted(donor: int, owner: int, parents: Sequence[ModelFacts]) -> list[tuple[int, str]]:
    """(parent, file), by the files' names: the tokenizer's from its owner, the others from the donor."""
    found = [(owner, file.name) for file in parents[owner].files if file.name in OF_TOKENIZER]
    found += [(donor, file.name) for file in parents[donor].files if file.name not in OF_TOKENIZER]
    return sorted(found, key=lambda one: one[1])


def _edit(name: str, donor: int, parents: Sequence[ModelFacts], joined: Joined | None) -> Edit | None:
    """What a joined vocabulary changes in a file."""
    if joined is None:
        return None
    if name == "tokenizer_config.json" and joined.tokenizer is not None:
        return partial(_list_added, joined.tokenizer)
    owner = joined.vocabulary.owner
    if name == "generation_config.json" and owner != donor:
        theirs = _object(parents[owner].texts.get(name)) or {}
        return lambda content: renumber(content, theirs, joined.new_ids(donor))[0]
    return None


def _list_added(new: NewTokenizer, content: dict[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json may list the added tokens by id."""
    if not isinstance(content.get("added_tokens_decoder"), dict):
        return content
    flags = {str(one["id"]): {key: value for key, value in one.items() if key != "id"} for one in new.added}
    return {**content, "added_tokens_decoder": flags}


def _added_tokens(new: NewTokenizer) -> str:
    return json.dumps({one["content"]: one["id"] for one in new.added}, indent=2, ensure_ascii=False) + "\n"


def _outdated(name: str, ref: str) -> Finding:
    text = f"{name} of {ref} does not know the new vocabulary and is not taken over; tokenizer.json holds it."
    return Finding("info", "vocabulary-file-left-out", name, text)


def is_carried(name: str) -> bool:
    """Whether a file is data that goes with the weights (never code, never weights, never a path)."""
    return name in ALLOWED or LICENCE_FILE.fullmatch(name) is not None


def _object(text: str | None) -> dict[str, Any] | None:
    """The object in a small JSON file, None when it cannot be read."""
    try:
        content = load_object(text.encode(), infinite=True) if text is not None else None
    except (BadJson, UnicodeEncodeError):
        return None
    return content if content is not None and depth(content) <= DEEPEST else None


def _cleaned(name: str, text: str | None, without_template: bool, edit: Edit | None) -> str | None:
    """The file's new text; empty when it may stay as it is; None when it cannot be read."""
    content = _object(text)
    if content is None:
        return None
    kept, dropped = clean_tokenizer_config(content)
    harmless = name == "generation_config.json" and all(path == "_from_model_config" for path, _ in dropped)
    if without_template and kept.pop("chat_template", None) is not None:
        harmless = False
        dropped.append(("chat_template", None))
    edited = kept if edit is None else edit(kept)
    if edited == kept and (not dropped or harmless):
        return ""
    return json.dumps(edited, indent=2) + "\n"


def _unreadable(name: str, ref: str) -> Finding:
    return Finding(
        "warning", "file-left-out", name, f"{name} of {ref} could not be read and is not taken over.",
        "Add it to the result by hand if it is needed.",
    )  # fmt: skip
