"""The recipes that are timed: one a method, written so that both tools read the same file where both have the method.

Parents are the folders that ``benchmarks.checkpoints`` makes, named relative to the folder they lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

TUNES = ("ft1", "ft2", "ft3")


@dataclass(frozen=True)
class Recipe:
    """``write`` makes the YAML for a model of so many layers. ``inputs``: models read, for the table. ``both``:
    mergekit has the method too."""

    inputs: str
    write: Callable[[int], str]
    both: bool = True


def _merge(method: str, models: Mapping[str, str], base: str = "", parameters: str = "") -> Callable[[int], str]:
    """YAML of a merge of whole models; values are YAML in flow style."""
    lines = [f"merge_method: {method}"]
    if base:
        lines.append(f"base_model: ./{base}")
    lines.append("models:")
    for model, own in models.items():
        lines.append(f"  - model: ./{model}")
        if own:
            lines.append(f"    parameters: {{{own}}}")
    if parameters:
        lines.append(f"parameters: {{{parameters}}}")
    text = "\n".join([*lines, "dtype: bfloat16", ""])
    return lambda _layers: text


def _stack(layers: int) -> str:
    """The lower half of one model under the upper half of another: as many layers as either."""
    half = layers // 2
    return (
        "merge_method: passthrough\nslices:\n"
        f"  - sources: [{{model: ./ft1, layer_range: [0, {half}]}}]\n"
        f"  - sources: [{{model: ./ft2, layer_range: [{half}, {layers}]}}]\n"
        "dtype: bfloat16\n"
    )


def _each(own: str, models: tuple[str, ...] = TUNES) -> dict[str, str]:
    return dict.fromkeys(models, own)


RECIPES: Mapping[str, Recipe] = {
    "passthrough": Recipe("2", _stack),
    "linear": Recipe("2", _merge("linear", _each("weight: 0.5", TUNES[:2]))),
    "linear-4": Recipe("4", _merge("linear", _each("weight: 0.25", ("base", *TUNES)))),
    "slerp": Recipe("2", _merge("slerp", _each("", ("base", "ft3")), "base", "t: 0.4")),
    "nuslerp": Recipe("2", _merge("nuslerp", {"ft2": "weight: 0.6", "ft3": "weight: 0.4"})),
    "multislerp": Recipe("3", _merge("multislerp", _each("weight: 0.33"))),
    "karcher": Recipe("3", _merge("karcher", _each(""))),
    "task_arithmetic": Recipe("3+b", _merge("task_arithmetic", _each("weight: 0.4"), "base")),
    "transfer": Recipe("3+b", _merge("transfer", {"ft1": "", **_each("weight: 0.4", TUNES[1:])}, "base"), both=False),
    "consensus_ta": Recipe("3+b", _merge("consensus_ta", _each("weight: 0.4"), "base"), both=False),
    "consensus_ties": Recipe("3+b", _merge("consensus_ties", _each("weight: 0.4, density: 0.5"), "base"), both=False),
    "model_stock": Recipe("3+b", _merge("model_stock", _each(""), "base")),
    "nearswap": Recipe("1+b", _merge("nearswap", _each("", ("ft3",)), "base", "t: 0.0001")),
    "arcee_fusion": Recipe("1+b", _merge("arcee_fusion", _each("", ("ft3",)), "base")),
    "dare_linear": Recipe("3+b", _merge("dare_linear", _each("weight: 0.4, density: 0.5"), "base")),
    "dare_ties": Recipe("3+b", _merge("dare_ties", _each("weight: 0.4, density: 0.5"), "base")),
    "ties": Recipe("3+b", _merge("ties", _each("weight: 0.4, density: 0.5"), "base")),
    "breadcrumbs": Recipe("3+b", _merge("breadcrumbs", _each("weight: 0.4, density: 0.5, gamma: 0.01"), "base")),
    "breadcrumbs_ties": Recipe(
        "3+b", _merge("breadcrumbs_ties", _each("weight: 0.4, density: 0.5, gamma: 0.01"), "base")
    ),
    "sce": Recipe("3+b", _merge("sce", _each(""), "base", "select_topk: 0.5")),
    "ram": Recipe("3+b", _merge("ram", _each(""), "base")),
    "ramplus_tl": Recipe("3+b", _merge("ramplus_tl", _each(""), "base")),
    "della": Recipe("3+b", _merge("della", _each("weight: 0.4, density: 0.5, epsilon: 0.1"), "base")),
    "della_linear": Recipe("3+b", _merge("della_linear", _each("weight: 0.4, density: 0.5, epsilon: 0.1"), "base")),
}
