"""Parents without a config.json: weights of diffusion and audio models, raw state dicts. Names, shapes and number
formats are all that is known of them, and all that a merge needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from app.planning.filters import rules_of
from app.planning.layers import Structure
from app.planning.ledger import listed
from app.planning.parents import Parents
from app.recipe.findings import Finding
from app.recipe.schema import Recipe

_FACTORS = re.compile(r"(^|[._])(lora_(A|B|up|down|te)|hada_w|lokr_w|oft_)", re.ASCII)
"""What LoRA and its kin call their tensors."""


def without_config(recipe: Recipe, parents: Parents, donor: int) -> Iterator[Finding]:
    """What it means that parents have no config. ``donor``: the parent whose config the result has, or else whose
    file names."""
    bare = [index for index, facts in enumerate(parents.facts) if not facts.config]
    if not bare:
        return
    names, who = [parents.name(index) for index in bare], parents.name(donor)
    if parents.facts[donor].config:
        have = f"{listed(names)} {'has' if len(bare) == 1 else 'have'} no config.json"
        fix = f"Check that the settings of {who} hold for all of them."
        yield Finding("info", "config-of-another", who, f"{have}: config and tokenizer are those of {who}.", fix)
    else:
        text = "The parents have no config.json, so only names, shapes and number formats could be checked. "
        text += f"{_stacks(parents.structures[donor])} The result gets no config and no tokenizer; its files are "
        text += f"called as in {who}."
        yield Finding("info", "weights-only", who, text)
        yield from _of_no_use(recipe)
    yield from _factors(parents, bare)


def _stacks(structure: Structure) -> str:
    if not structure.stacks:
        return "Their names show no stack of layers."
    found = [f"{count} in {prefix}" for prefix, count in structure.stacks.items()]
    return f"Layers are counted by the numbers in names: {listed(found, most=4)}."


def _of_no_use(recipe: Recipe) -> Iterator[Finding]:
    """Keys that speak of a tokenizer."""
    if recipe.tokenizer is not None:
        place = "tokenizer_source" if recipe.tokenizer.legacy else "tokenizer"
        text = "Nothing says which rows stand for which tokens in models without a config.json."
        yield Finding("error", "tokenizer-not-supported", place, text, f"Leave out {place}.")
    if recipe.chat_template is not None:
        text = "The result has no tokenizer, so no chat template is written."
        yield Finding("warning", "chat-template-unused", "chat_template", text, "Leave out chat_template.")


def _factors(parents: Parents, bare: Sequence[int]) -> Iterator[Finding]:
    """The average of factors is not the factors of the average."""
    for index in bare:
        if any(_FACTORS.search(name) for name in parents.facts[index].tensors):
            who = parents.name(index)
            text = f"{who} seems to be a LoRA adapter: its tensors are factors, and merging factors one by one is not "
            text += "merging what they add to a model."
            fix = "For adapters in PEFT's format use Merge adapters (weightloom merge-adapters)."
            yield Finding("warning", "factors-merged", who, text, fix)


def flat_curves(recipe: Recipe, structure: Structure, who: str) -> Iterator[Finding]:
    """Curves where there are no layers that they could change over. ``who`` is the parent that has none."""
    if structure.stacks:
        return
    curved = {name: rule.value for name, rule in rules_of(recipe) if isinstance(rule.value, tuple)}
    for name, values in curved.items():
        text = f"{name} is a curve over the layers, but the tensors of {who} form no stack of layers: the first value, "
        text += f"{values[0]}, holds for all of them."
        fix = "Write one value, or give groups of tensors values of their own with filters."
        yield Finding("warning", "curve-without-layers", f"parameters.{name}", text, fix)
