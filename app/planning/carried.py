"""Files the result takes over from the donor: by an allow-list, and never with anything that names code."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.planning.config_repair import clean_tokenizer_config
from app.planning.facts import ModelFacts
from app.planning.parents import DEEPEST
from app.planning.plan import Carry
from app.planning.strict_json import BadJson, depth, load_object
from app.recipe.findings import Finding, refuse

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
CHAT_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class Carried:
    """Files to copy unchanged, files to write, and remarks."""

    carries: tuple[Carry, ...]
    texts: Mapping[str, str]
    findings: tuple[Finding, ...] = ()


def carried_files(donor: int, parents: Sequence[ModelFacts], template: str | None) -> Carried:
    """What comes along with the weights. ``template`` is the recipe's ``chat_template``. Raises Refused if that is
    a name instead of a template."""
    facts = parents[donor]
    chosen = None if template is None else _template(template, parents)
    carries: list[Carry] = []
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    for file in sorted(facts.files, key=lambda one: one.name):
        if file.name in CLEANED:
            cleaned = _cleaned(file.name, facts.texts.get(file.name), chosen is not None)
            if cleaned is None:
                findings.append(_unreadable(file.name, facts.ref))
            elif cleaned == "":
                carries.append(Carry(donor, file.name))
            else:
                texts[file.name] = cleaned
        elif is_carried(file.name) and not (chosen is not None and file.name.startswith("chat_template.")):
            carries.append(Carry(donor, file.name))
    if chosen is not None:
        texts[CHAT_TEMPLATE] = chosen.encode("utf-8", "replace").decode()
    return Carried(tuple(carries), texts, tuple(findings))


def is_carried(name: str) -> bool:
    """Whether a file is data that goes with the weights (never code, never weights, never a path)."""
    return name in ALLOWED or LICENCE_FILE.fullmatch(name) is not None


def chat_template_of(facts: ModelFacts) -> str | None:
    """A model's chat template, as text; it is never rendered here."""
    template = facts.texts.get(CHAT_TEMPLATE)
    if template is not None:
        return template
    try:
        found = load_object(facts.texts.get("tokenizer_config.json", "{}").encode(), infinite=True).get("chat_template")
    except (BadJson, UnicodeEncodeError):
        return None
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _template(wish: str, parents: Sequence[ModelFacts]) -> str | None:
    """The text of the chat template wished for; None when ``auto`` finds none."""
    if wish == "auto":
        found = Counter(text.strip() for facts in parents if (text := chat_template_of(facts)))
        return found.most_common(1)[0][0] if found else None
    if "{" not in wish:
        raise refuse(
            "chat-template-not-supported", "chat_template", f'There is no chat template called "{wish[:40]}" here.',
            "Write auto, or the template itself; without the key the result keeps its first parent's.",
        )  # fmt: skip
    return wish


def _cleaned(name: str, text: str | None, without_template: bool) -> str | None:
    """The file's new text; empty when it may stay as it is; None when it cannot be read."""
    try:
        content = load_object(text.encode(), infinite=True) if text is not None else None
    except (BadJson, UnicodeEncodeError):
        return None
    if content is None or depth(content) > DEEPEST:
        return None
    kept, dropped = clean_tokenizer_config(content)
    harmless = name == "generation_config.json" and all(path == "_from_model_config" for path, _ in dropped)
    if without_template and kept.pop("chat_template", None) is not None:
        harmless = False
        dropped.append(("chat_template", None))
    if not dropped or harmless:
        return ""
    return json.dumps(kept, indent=2) + "\n"


def _unreadable(name: str, ref: str) -> Finding:
    return Finding(
        "warning", "file-left-out", name, f"{name} of {ref} could not be read and is not taken over.",
        "Add it to the result by hand if it is needed.",
    )  # fmt: skip
