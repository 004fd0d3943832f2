"""Adapters side by side: whether they can be made into one, and what is worth knowing before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.adapting.methods import METHODS
from app.adapting.sketch import AdapterSketch, ModuleSketch
from app.adapting.wanted import How
from app.planning.ledger import listed
from app.planning.strict_json import short
from app.recipe.counted import counted
from app.recipe.findings import Finding


def check_together(adapters: Sequence[AdapterSketch], how: How) -> Iterator[Finding]:
    """Errors for what cannot be done, warnings for what probably is not meant."""
    method = METHODS[how.method]
    if method.rank == "sum" and how.rank is not None:
        text = f"{method.name} keeps everything, so its rank is the sum of all ranks."
        yield Finding("error", "rank-not-free", "rank", text, "Use svd to choose a rank.")
    if method.rank == "own":
        yield from _equal_ranks(adapters, how)
    if how.normalize and sum(how.weights) == 0:
        text = "The weights add up to 0, so nothing can be divided by them."
        yield Finding("error", "weights-add-up-to-nothing", "weights", text, "Change them, or do not divide by them.")
    bases = sorted({one.settings.base or "" for one in adapters} - {""})
    if len(bases) > 1:
        text = f"The adapters say they were made for different models: {listed([short(one) for one in bases])}."
        fix = "The result fits only what both fit. Merge adapters of one base where you can."
        yield Finding("warning", "adapter-of-another-base", "", text, fix)
    if len({one.settings.transposed for one in adapters}) > 1:
        text = "Some adapters are for matrices stored the other way round (fan_in_fan_out), others are not."
        yield Finding("error", "adapter-shape", "", text, "Merge adapters of one base.")
    if len({one.settings.parameters for one in adapters} - {()}) > 1:
        text = "The adapters change other parameters, or name them in another order (target_parameters): which factors "
        text += "belong to which can only be told beside the model."
        fix = "Merge them as parents instead: base+adapter in a recipe. The result is then a whole model."
        yield Finding("error", "adapter-unsupported", "", text, fix)
    yield from _same_sizes(adapters)


def remarks(adapters: Sequence[AdapterSketch], how: How) -> Iterator[Finding]:
    """What people should know of adapters that fit each other."""
    bases = {one.settings.base for one in adapters}
    if bases == {None}:
        text = "No adapter says which model it was made for."
        yield Finding("info", "base-unknown", "", text, "Load the result on the model that all of them were made for.")
    elif len(bases) == 1:
        whose = "All adapters say they were" if len(adapters) > 1 else "The adapter says it was"
        yield Finding("info", "same-lineage", "", f"{whose} made for {short(str(next(iter(bases))))}.")
    for one in adapters:
        if one.settings.strange:
            text = f"Settings of {one.ref} that are not known here are left out of account: "
            fix = "If they change what the adapter adds, this merge does not know of it."
            yield Finding("warning", "adapter-settings", one.ref, f"{text}{listed(list(one.settings.strange))}.", fix)
    yield from _apart(adapters)
    yield from _scales(adapters)
    if how.normalize is False and METHODS[how.method].divides:
        text = "The weights are not divided by their sum, so the changes add up."
        yield Finding("info", "not-divided", "weights", text)


def _equal_ranks(adapters: Sequence[AdapterSketch], how: How) -> Iterator[Finding]:
    if how.rank is not None:
        yield Finding("error", "rank-not-free", "rank", "factor_linear keeps the adapters' rank.", "Leave it out.")
    ranks: dict[str, set[int]] = {}
    for adapter in adapters:
        for name, module in adapter.modules.items():
            ranks.setdefault(name, set()).add(module.rank)
    unlike = next((name for name, found in ranks.items() if len(found) > 1), None)
    if unlike is not None:
        text = f"factor_linear adds up factors, and those of {short(unlike)} have different ranks."
        yield Finding("error", "adapter-rank", unlike, text, "Use linear, svd or cat.")


def _same_sizes(adapters: Sequence[AdapterSketch]) -> Iterator[Finding]:
    """An error where the same module has other sizes in another adapter."""
    seen: dict[str, tuple[str, ModuleSketch]] = {}
    for adapter in adapters:
        for name, module in adapter.modules.items():
            ref, first = seen.setdefault(name, (adapter.ref, module))
            if first.size != module.size:
                text = f"{short(name)} is {first} in {ref}, {module} in {adapter.ref}."
                yield Finding("error", "adapter-shape", name, text, "Merge adapters of one base.")
                return


def _apart(adapters: Sequence[AdapterSketch]) -> Iterator[Finding]:
    """Adapters that touch other modules than the others."""
    everything = {name for one in adapters for name in one.modules}
    for one in adapters:
        lacking = sorted({name.rpartition(".")[2] for name in everything - one.modules.keys()})
        if lacking:
            text = f"{one.ref} leaves {counted(len(everything) - len(one.modules), 'module')} alone that others change "
            text += f"({listed([short(name) for name in lacking])}): there it counts as no change."
            yield Finding("info", "modules-differ", one.ref, text)


def _scales(adapters: Sequence[AdapterSketch]) -> Iterator[Finding]:
    """How strongly each is added: told where they differ, because people compare alphas."""
    told = [sorted({module.scale for module in one.modules.values()}) for one in adapters]
    if len({tuple(one) for one in told}) < 2:
        return
    each = [
        f"{one.ref} {listed([f'{scale:.3g}' for scale in scales], most=3)}{' (rsLoRA)' if one.settings.rslora else ''}"
        for one, scales in zip(adapters, told, strict=True)
    ]
    text = f"The adapters are added with different strength, alpha / rank: {'; '.join(each)}. That is counted in."
    yield Finding("info", "scales-differ", "", text, "In the result alpha is equal to the rank.")
