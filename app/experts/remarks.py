"""What is worth knowing of a mixture before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.experts.dense import EMBEDDING, Dense
from app.experts.wanted import WantedMixture
from app.planning.facts import ModelFacts
from app.planning.ledger import listed
from app.recipe.findings import Finding
from app.recipe.schema import ModelRef


def remarks(wanted: WantedMixture, dense: Dense, facts: Mapping[ModelRef, ModelFacts]) -> Iterator[Finding]:
    """Never errors."""
    text = "Of every expert only the MLPs go in; attention, norms, embeddings, head and tokenizer are those of "
    yield Finding("info", "only-mlps", "experts", f"{text}{wanted.base}.")
    yield from _about_routers(wanted)
    yield from _about_experts(wanted)
    yield from _about_vocabularies(wanted, facts)
    if dense.buffers:
        text = f"{listed(dense.buffers)}: left out, since libraries compute them anew."
        yield Finding("info", "buffers-left-out", str(wanted.base), text)


def active_parameters(wanted: WantedMixture, dense: Dense, parameters: int) -> int:
    """How many of the mixture's parameters one token passes."""
    idle = len(wanted.experts) - wanted.experts_per_token
    return parameters - idle * 3 * dense.hidden * dense.inner * dense.layers


def about_size(wanted: WantedMixture, dense: Dense, parameters: int) -> Finding:
    active = active_parameters(wanted, dense, parameters)
    text = f"The mixture has {_billions(parameters)} parameters, of which a token passes {_billions(active)}: it takes "
    return Finding("info", "mixture-size", "", f"{text}the memory of the first and about the time of the second.")


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"


def _about_routers(wanted: WantedMixture) -> Iterator[Finding]:
    if not wanted.prompted:
        text = "Routers drawn at random send tokens anywhere: the mixture is a start for training, and useless without."
        fix = "Choose gate_mode: hidden to use it as it is."
        yield Finding("warning", "needs-training", "gate_mode", text, fix)
        return
    if wanted.gate_mode == "hidden_avg":
        text = "In most models the state of a prompt's first token is by far the largest, so averages hardly differ."
        fix = "gate_mode: hidden tells experts apart better."
        yield Finding("info", "averages-alike", "gate_mode", text, fix)
    seen: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    for number, one in enumerate(wanted.experts):
        first = seen.setdefault((one.positive, one.negative), number)
        if first != number:
            text = f"Experts {first + 1} and {number + 1} have the same prompts, so no router can tell them apart."
            where = f"experts[{number}].positive_prompts"
            yield Finding("warning", "same-prompts", where, text, "Say what each is good at.")


def _about_experts(wanted: WantedMixture) -> Iterator[Finding]:
    count = len(wanted.experts)
    if len({one.source for one in wanted.experts}) == 1:
        text = "All experts are the same model: every choice of a router gives the same result."
        yield Finding("warning", "experts-alike", "experts", text, "Name models that differ.")
    if count & (count - 1):
        text = f"There are {count} experts. Programs based on llama.cpp have wanted a power of two."
        yield Finding("warning", "not-a-power-of-two", "experts", text, "Take 2, 4, 8 or 16 to be safe.")


def _about_vocabularies(wanted: WantedMixture, facts: Mapping[ModelRef, ModelFacts]) -> Iterator[Finding]:
    rows = facts[wanted.base].tensors[EMBEDDING].shape[0]
    others = {one.source for one in wanted.everyone if facts[one.source].tensors[EMBEDDING].shape[0] != rows}
    if others:
        names = listed(sorted(map(str, others)))
        text = (
            f"{names}: another number of tokens than the base's {rows:,}. Tokens it added are unknown to the mixture."
        )
        yield Finding("warning", "other-vocabulary", "experts", text, "Prefer experts with the base's tokenizer.")
