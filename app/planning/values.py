"""The values a method's parameters have for one tensor, and whether they make sense together."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from app.planning.groups import Member
from app.planning.ledger import TENSORS, Ledger
from app.planning.outline import Wanted
from app.planning.plan import NO_VALUES, Values
from app.recipe.catalogue import Method
from app.recipe.findings import Finding
from app.recipe.resolve import resolve
from app.recipe.schema import Parameters, Scalar

_TINY = 1e-12


def tensor_values(method: Method, wanted: Wanted, ledger: Ledger) -> Values:
    """The parameters that have one value for the whole tensor."""
    return _values(method, wanted, wanted.scopes, wanted.name, "", ledger)


def parent_values(method: Method, wanted: Wanted, member: Member, who: str, ledger: Ledger) -> Values:
    """The parameters that each parent has for itself; filters look at the parent's own tensor name."""
    return _values(method, wanted, (member.parameters, *wanted.scopes), member.name, who, ledger)


def _values(
    method: Method, wanted: Wanted, scopes: Sequence[Parameters], tensor: str, who: str, ledger: Ledger
) -> Values:
    """``who`` names the parent whose values are asked for; empty: those of the whole tensor."""
    values: dict[str, Scalar] = {}
    for parameter in method.parameters:
        asked = parameter.scope != "tensor" if who else parameter.scope == "tensor"
        if not asked or not parameter.used:
            continue
        value = resolve(scopes, parameter.name, tensor, wanted.t)
        value = parameter.default if value is None else value
        if value is not None:
            values[parameter.name] = value
        elif parameter.required:
            whose = f" of {who}" if who else ""
            text = f'{method.title} needs "{parameter.name}", but no rule gives a value for {TENSORS}{whose}.'
            fix = f"Add a last rule for {parameter.name} without a filter."
            place = f"parameters.{parameter.name}"
            ledger.note(Finding("error", "missing-parameter", place, text, fix), wanted.name, wanted.alike)
    return MappingProxyType(values) if values else NO_VALUES


def check_values(
    method: Method, wanted: Wanted, parents: Sequence[tuple[str, Values]], shared: Values, ledger: Ledger
) -> None:
    """Note values that would give no number at all, or a chance outside 0 to 1. ``parents``: name and values."""
    normalised = shared.get("normalize" if method.name == "linear" else "normalize_weights")
    weights = [float(values["weight"]) for _, values in parents if "weight" in values]
    if normalised is True and len(weights) == len(parents) and abs(sum(weights)) < _TINY:
        text = f"The weights for {TENSORS} add up to 0, and nothing can be divided by 0."
        fix = "Change a weight, or set the normalising off."
        ledger.note(Finding("error", "weights-sum-to-zero", "parameters.weight", text, fix), wanted.name, wanted.alike)
    if method.name in ("della", "della_linear"):
        for who, values in parents:
            _check_chances(who, values, wanted, ledger)


def _check_chances(who: str, values: Values, wanted: Wanted, ledger: Ledger) -> None:
    """DELLA keeps with chances from density - epsilon to density + epsilon."""
    density, epsilon = float(values["density"]), float(values["epsilon"])
    if 0 < density < 1 and not (epsilon < density and density + epsilon < 1):
        text = f"density {density:g} ± epsilon {epsilon:g} of {who} leaves the range from 0 to 1 (for {TENSORS})."
        fix = f"Set epsilon below {min(density, 1 - density):g}, or density to 1."
        ledger.note(Finding("error", "density-and-epsilon", "parameters.epsilon", text, fix), wanted.name, wanted.alike)
