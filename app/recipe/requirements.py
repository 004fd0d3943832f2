"""What a method needs from a recipe: number of parents, a base, required parameters. Needs no checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.recipe.catalogue import Method
from app.recipe.findings import Finding
from app.recipe.parameters import scopes_give
from app.recipe.roles import besides_base
from app.recipe.schema import ModelRef, Parameters, Recipe, Source


def check_requirements(recipe: Recipe, method: Method) -> Iterator[Finding]:
    """Findings, each once, for every group of sources that is merged together."""
    told: set[tuple[str, str]] = set()
    for where, sources, base, scopes in groups(recipe):
        for finding in _check_group(where, sources, base, scopes, method):
            key = (finding.code, finding.where)
            if key not in told:
                told.add(key)
                yield finding


def groups(recipe: Recipe) -> Iterator[tuple[str, Sequence[Source], ModelRef | None, list[Parameters]]]:
    """Every group of sources: where it stands, the sources, its base, and the scopes around it, narrow first."""
    if recipe.models:
        yield "models", recipe.models, recipe.base_model, [recipe.parameters]
    for index, piece in enumerate(recipe.slices):
        scopes = [piece.parameters, recipe.parameters]
        yield f"slices[{index}].sources", piece.sources, piece.base_model or recipe.base_model, scopes
    for name, module in recipe.modules.items():
        outer = [module.parameters, recipe.parameters]
        if module.models:
            yield f"modules.{name}.models", module.models, recipe.base_model, outer
        for index, piece in enumerate(module.slices):
            where = f"modules.{name}.slices[{index}].sources"
            yield where, piece.sources, piece.base_model or recipe.base_model, [piece.parameters, *outer]


def _check_group(
    where: str, sources: Sequence[Source], base: ModelRef | None, scopes: list[Parameters], method: Method
) -> Iterator[Finding]:
    if method.base == "required" and base is None:
        yield Finding(
            "error", "missing-base", "base_model", f"{method.title} needs a base model.",
            "Name the model that the others were made from." if method.uses_deltas else "Name the model to start from.",
        )  # fmt: skip
        return
    yield from _check_count(where, sources, base, method)
    first = next(iter(besides_base(sources, base)), None)
    if method.receives and first is not None and "weight" in first.parameters:
        text = f"{first.model} is what the others are added to: its weight has no effect."
        yield Finding("info", "no-effect", f"{where}[{list(sources).index(first)}].parameters.weight", text)
    yield from _check_agreement(where, sources, base, scopes, method)
    others = besides_base(sources, base)
    for index, source in enumerate(sources):
        for parameter in method.parameters:
            if not parameter.required or (parameter.scope == "non_base" and not any(source is one for one in others)):
                continue
            around = scopes if parameter.scope == "tensor" else [source.parameters, *scopes]
            if not scopes_give(around, parameter.name):
                place = "parameters" if parameter.scope == "tensor" else f"{where}[{index}].parameters"
                text = f'{method.title} needs "{parameter.name}"'
                text += "." if parameter.scope == "tensor" else f" for {source.model}."
                yield Finding("error", "missing-parameter", place, text, f"Add {parameter.name}: 0.5, for example.")


def _check_agreement(
    where: str, sources: Sequence[Source], base: ModelRef | None, scopes: list[Parameters], method: Method
) -> Iterator[Finding]:
    """No more parents can have to agree than there are."""
    setting = next((scope["k"] for scope in scopes if "k" in scope), ())
    values = [rule.value for rule in setting if isinstance(rule.value, int)]
    count = len(besides_base(sources, base))
    if method.parameter("k") is not None and values and max(values) > count:
        text = f"{max(values)} parents have to agree, but only {count} are merged: nothing would change."
        yield Finding("warning", "k-too-large", f"{where}: k", text, f"Set k to {count} or less.")


def _check_count(where: str, sources: Sequence[Source], base: ModelRef | None, method: Method) -> Iterator[Finding]:
    others = sources if method.base == "ignored" else besides_base(sources, base)
    count = len(others) + (1 if method.base_counts and base is not None else 0)
    if method.min_parents <= count and (method.max_parents is None or count <= method.max_parents):
        return
    if method.max_parents == method.min_parents:
        wanted = f"exactly {method.min_parents}"
    elif count < method.min_parents:
        wanted = f"at least {method.min_parents}"
    else:
        wanted = f"at most {method.max_parents}"
    kind = (
        "models"
        if method.base != "optional" and (method.base_counts or method.base == "ignored")
        else "models besides the base"
    )
    fix = "Add a model." if count < method.min_parents else "Remove one, or choose a method for more models."
    yield Finding(
        "error", "wrong-number-of-parents", where, f"{method.title} takes {wanted} {kind}; here: {count}.", fix
    )
