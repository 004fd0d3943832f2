"""Every tensor of a model with another model's tokenizer, and what lies beside the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.planning.carried import Carried, carried_files, where_it_lies
from app.planning.chat_templates import chat_template_of
from app.planning.config_edit import told
from app.planning.config_repair import Target, clean_tokenizer_config, repair_config
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.join_vocabularies import Joined
from app.planning.layers import position
from app.planning.parents import Parents, token_embedding
from app.planning.pinning import published_names
from app.planning.plan import Alignment, Carry, Input, Plan, Step
from app.planning.shards import SHARD_BYTES, files_of
from app.planning.strict_json import BadJson, load_object
from app.planning.vocabulary import Vocabulary
from app.recipe.findings import Finding, refuse
from app.recipe.schema import Recipe, Source
from app.transplant.matching import Match
from app.transplant.matrices import DONOR, MODEL, laid_out
from app.transplant.special import NewIds
from app.transplant.wanted import RECIPE_FILE, WantedTransplant, write_transplant

_GENERATION, _TOKENIZER = "generation_config.json", "tokenizer_config.json"
_ANY_FAST = "PreTrainedTokenizerFast"
"""The class that takes tokenizer.json for what it says."""


@dataclass(frozen=True)
class _Beside(Joined):
    """The donor's tokenizer as it is; ids in the model's own files are told elsewhere."""

    def new_ids(self, parent: int) -> dict[int, int]:  # noqa: ARG002
        return {}


def plan_transplant(
    wanted: WantedTransplant, match: Match, ids: NewIds, parents: Parents, *, shard_bytes: int = SHARD_BYTES
) -> Plan:
    """``parents``: model and donor. Everything was found to fit. Raises Refused for a chat template that nobody has."""
    model, donor = parents.facts
    alignments = tuple(laid_out(wanted, match, model, donor))
    steps = tuple(_steps(parents, alignments))
    recipe = as_recipe(wanted)
    names = published_names(recipe, dict(zip(parents.refs, parents.facts, strict=True)))
    text = write_transplant(wanted.renamed(names))
    shards, index = files_of(steps, model, shard_bytes, {"format": "pt", "weightloom": text})
    config, found = _config(match, ids, model)
    carried = _carried(wanted, match, ids, parents)
    texts = {**carried.texts, "config.json": config, RECIPE_FILE: text, **index}
    carries = tuple(where_it_lies(one, parents) for one in carried.carries)
    return Plan(
        recipe, parents.with_adapters, shards, carries, MappingProxyType(texts), 0, (*found, *carried.findings),
        alignments, parents.adapters, RECIPE_FILE,
    )  # fmt: skip


def as_recipe(wanted: WantedTransplant) -> Recipe:
    """A recipe with the same models: what a plan and its readers know models by."""
    models = tuple(Source(one) for one in wanted.parents())
    return Recipe("passthrough", base_model=wanted.model, models=models)


def _steps(parents: Parents, alignments: Sequence[Alignment]) -> Iterator[Step]:
    made = {one.tensor.name: one for one in alignments}
    tensors, order = parents.facts[MODEL].tensors, parents.structures[MODEL].order
    for name in sorted(tensors, key=order):
        one = tensors[name]
        source: TensorFacts = made[name].tensor if name in made else one
        same = source.plain and source.dtype == one.dtype
        layer = position(name).layer
        yield Step(
            name, one.dtype, source.shape, "copy" if same else "passthrough", (Input(MODEL, source),), layer=layer
        )


def _config(match: Match, ids: NewIds, model: ModelFacts) -> tuple[str, tuple[Finding, ...]]:
    embedding = token_embedding(model)
    before = embedding.shape[0] if embedding is not None else None
    repaired = repair_config(model.config, Target(dtype=None, rows=match.rows, donor_rows=before))
    config, changes = ids.retold(repaired.config, whole=True)
    corrected = told((*repaired.changes, *changes))
    return json.dumps(config, indent=2) + "\n", (*([corrected] if corrected else []), *repaired.findings)


def _carried(wanted: WantedTransplant, match: Match, ids: NewIds, parents: Parents) -> Carried:
    """The donor's tokenizer, and the model's other files with the donor's ids in them."""
    model = parents.facts[MODEL]
    vocabulary = Vocabulary(DONOR, {}, match.rows, ())
    found = carried_files(MODEL, parents.facts, _template(wanted, model), _Beside(vocabulary, ()))
    texts = dict(found.texts)
    if _GENERATION in model.texts and (content := _read(model, _GENERATION)) is not None:
        texts[_GENERATION] = json.dumps(ids.retold(content, whole=False)[0], indent=2) + "\n"
    texts[_TOKENIZER] = _tokenizer_config(wanted, parents.facts[DONOR], model)
    written = texts.keys()
    carries = tuple(Carry(one.parent, one.file) for one in found.carries if one.file not in written)
    return Carried(carries, texts, found.findings)


def _template(wanted: WantedTransplant, model: ModelFacts) -> str | None:
    if wanted.chat_template == "donor":
        return None
    if wanted.chat_template != "model":
        return wanted.chat_template
    template = chat_template_of(model)
    if template is None:
        text = f"{model.ref} has no chat template."
        raise refuse("no-chat-template", "chat_template", text, "Take the donor's, or name one.")
    return template


def _tokenizer_config(wanted: WantedTransplant, donor: ModelFacts, model: ModelFacts) -> str:
    """The donor's, with a class that every kind of model takes, and no longer texts than the model can read."""
    content = _read(donor, _TOKENIZER) or {}
    if wanted.chat_template != "donor":
        content.pop("chat_template", None)
    content.setdefault("tokenizer_class", _ANY_FAST)
    longest = (_read(model, _TOKENIZER) or {}).get("model_max_length")
    if isinstance(longest, int | float):
        content["model_max_length"] = longest
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _read(facts: ModelFacts, name: str) -> dict[str, Any] | None:
    """A small JSON file without what names code; None when it cannot be read."""
    try:
        content: Mapping[str, Any] = load_object(facts.texts.get(name, "").encode(), infinite=True)
    except (BadJson, UnicodeEncodeError):
        return None
    return clean_tokenizer_config(content)[0]
