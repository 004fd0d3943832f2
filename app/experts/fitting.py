"""Which experts fit a base, and what a mixture of them cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.experts.dense import Dense, mlp_size
from app.experts.rope import frequencies
from app.experts.targets import Target
from app.experts.wanted import HIDDEN, Expert, WantedMixture
from app.planning.facts import ModelFacts
from app.planning.tokenizer_file import TOKENIZER
from app.recipe.findings import Finding, Refused
from app.recipe.schema import ModelRef


def check_fit(
    wanted: WantedMixture, dense: Dense, target: Target, facts: Mapping[ModelRef, ModelFacts]
) -> Iterator[Finding]:
    """Errors, the recipe's first, then the models'."""
    yield from _check_numbers(wanted, target)
    for ref in dict.fromkeys(one.source for one in wanted.everyone):
        if ref != wanted.base:
            yield from _check_expert(facts[ref], dense, target)
    if wanted.prompted:
        yield from _check_prompts(wanted)
        yield from _check_forward(wanted, dense)


def _check_numbers(wanted: WantedMixture, target: Target) -> Iterator[Finding]:
    count = len(wanted.experts)
    if wanted.experts_per_token > count:
        text = f"Each token is to go to {wanted.experts_per_token} experts, and there {_are(count)}."
        fix = f"Set experts_per_token to {min(2, count)}, or add experts."
        yield Finding("error", "too-few-experts", "experts_per_token", text, fix)
    if target.shared is None and wanted.shared:
        text = f"{target.title} has no shared experts."
        yield Finding("error", "no-shared-experts", "shared_experts", text, "Remove them, or move them to the experts.")
    if target.shared is not None and len(wanted.shared) != 1:
        text = (
            f"{target.title} has exactly one shared expert, which every token passes; here {_are(len(wanted.shared))}."
        )
        fix = "Name one under shared_experts; the base itself is a safe choice, with residual_scale: 0.1."
        yield Finding("error", "shared-expert-missing", "shared_experts", text, fix)


def _are(count: int) -> str:
    return {0: "is none", 1: "is one"}.get(count, f"are {count}")


def _check_expert(facts: ModelFacts, dense: Dense, target: Target) -> Iterator[Finding]:
    kind = str(facts.config.get("model_type", ""))
    if kind not in target.bases:
        text = f"{facts.ref} is a {kind[:40] or 'model of an unnamed kind'}; {target.title} is made of "
        fix = "Choose models of the base's family."
        yield Finding("error", "another-kind", facts.ref, f"{text}{' and '.join(target.bases)} models.", fix)
        return
    try:
        layers, hidden, inner = mlp_size(facts)
    except Refused as problem:
        yield from problem.findings
        return
    sizes = (
        ("layers", layers, dense.layers),
        ("numbers a token", hidden, dense.hidden),
        ("wide MLPs", inner, dense.inner),
    )
    wrong = [f"{theirs} {what} (the base {ours})" for what, theirs, ours in sizes if theirs != ours]
    if wrong:
        text = f"{facts.ref} has another size than the base: {', '.join(wrong)}."
        yield Finding("error", "sizes-differ", facts.ref, text, "Choose models of one size.")
    activation = str(facts.config.get("hidden_act", "silu"))
    if activation != dense.activation:
        text = f"The MLPs of {facts.ref} use {activation[:40]}, those of the base {dense.activation[:40]}."
        yield Finding("error", "activations-differ", facts.ref, text, "Choose models that use the same.")


def _check_prompts(wanted: WantedMixture) -> Iterator[Finding]:
    """Each expert needs at least one prompt that says something."""
    for place, listed in (("experts", wanted.experts), ("shared_experts", wanted.shared)):
        for number, one in enumerate(listed):
            where = f"{place}[{number}].positive_prompts"
            fix = "Write what it is good at, as people would ask it, or choose gate_mode: random."
            if not one.positive:
                text = (
                    f"{one.source} has no positive prompts, and gate_mode {wanted.gate_mode} makes its router of them."
                )
                yield Finding("error", "prompts-missing", where, text, fix)
            elif not all(prompt.strip() for prompt in _prompts(one)):
                text = f"A prompt of {one.source} is empty."
                yield Finding("error", "prompt-empty", where, text, fix)


def _prompts(one: Expert) -> tuple[str, ...]:
    return (*one.positive, *one.negative)


def _check_forward(wanted: WantedMixture, dense: Dense) -> Iterator[Finding]:
    """What it takes to run the base on the prompts."""
    facts = dense.facts
    if not any(file.name == TOKENIZER for file in facts.files):
        text = f"{facts.ref} has no {TOKENIZER}, so prompts cannot be turned into tokens."
        fix = "Choose a base that has one, or gate_mode: random."
        yield Finding("error", "no-tokenizer", facts.ref, text, fix)
    if wanted.gate_mode not in HIDDEN:
        return
    if dense.activation != "silu":
        text = f"{facts.ref} uses {dense.activation[:40]} in its MLPs, which cannot be computed here."
        yield Finding("error", "activation-unknown", facts.ref, text, "Choose gate_mode: cheap_embed.")
    try:
        frequencies(facts.config, dense.head_dim, facts.ref)
    except Refused as problem:
        yield from problem.findings
