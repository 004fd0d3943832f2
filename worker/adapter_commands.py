"""The commands whose result is an adapter: merge-adapters and extract-lora."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.recipe.findings import Finding, refuse
from worker.arguments import numbers, share, whole

if TYPE_CHECKING:
    from app.library.facts import Library
    from worker.bar import Bar

METHODS = ("cat", "svd", "factor_linear", "linear", "task_arithmetic", "ties", "dare_linear", "dare_ties")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Report:
    """What a command says in the end: findings, lines for people, and the same for programs."""

    findings: tuple[Finding, ...]
    lines: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)


Make = Callable[[argparse.Namespace, "Library", "str | None", "Bar"], Report]
Add = Callable[[str, Make, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    one = add(
        "merge-adapters", merge_adapters, "Merge LoRA adapters of one base into one adapter, without touching the base."
    )
    one.add_argument("adapters", nargs="+", metavar="ADAPTER", help="a folder, local:root/name or a Hub id")
    one.add_argument("out", type=Path, metavar="OUT_DIR", help="new or empty folder for the result")
    one.add_argument(
        "--method", choices=METHODS, default="svd",
        help="svd (the default): the best approximation of the weighted sum, exact without --rank; cat: the sum, "
        "exactly, with all ranks added; factor_linear: PEFT's linear, a sum of the factors; others: what they do to "
        "models, in the adapters' common space",
    )  # fmt: skip
    one.add_argument("--weights", type=numbers, metavar="W,W,...", help="one for each adapter; 1 without")
    one.add_argument("--rank", type=whole, help="the result's rank; as large as needed without")
    one.add_argument("--density", type=share, default=0.5, help="what TIES and DARE keep; 0.5 without")
    one.add_argument("--factor", type=float, default=1.0, help="multiplies the result (λ); 1 without")
    one.add_argument(
        "--normalize", action=argparse.BooleanOptionalAction,
        help="divide by the weights; so do linear, ties and dare_ties without being told",
    )  # fmt: skip
    one.add_argument("--seed", type=int, default=0, help="for DARE; 0 without")
    _common(one)
    one = add("extract-lora", extract_lora, "Make a LoRA adapter of what a fine-tune changed in its base.")
    one.add_argument("tuned", metavar="FINETUNE", help="a folder, local:root/name or a Hub id")
    one.add_argument("base", metavar="BASE", help="the model it was made from")
    one.add_argument("out", type=Path, metavar="OUT_DIR", help="new or empty folder for the result")
    one.add_argument("--rank", type=whole, required=True, help="of every module, at most")
    one.add_argument(
        "--max-error", type=share, help="less rank where so much of a change may be missing; 0.1 is a tenth of it"
    )
    one.add_argument("--seed", type=int, default=0, help="for the random projection; 0 without")
    _common(one)


def merge_adapters(asked: argparse.Namespace, library: Library, token: str | None, bar: Bar) -> Report:
    """Raises Refused or OSError."""
    from worker.adapter_folders import Inputs, adapters_of, publish_adapter
    from worker.lora.card import merged_card
    from worker.lora.loaded import load_adapter
    from worker.lora.merging import merge_adapters as merge
    from worker.lora.methods import NORMALIZED, How

    weights = asked.weights or (1.0,) * len(asked.adapters)
    if len(weights) != len(asked.adapters):
        text = f"There are {len(weights)} weights for {len(asked.adapters)} adapters."
        raise refuse("wrong-number-of-weights", "--weights", text, "Give one for each adapter, in their order.")
    normalize = asked.method in NORMALIZED if asked.normalize is None else asked.normalize
    how = How(asked.method, weights, asked.rank, asked.density, asked.factor, normalize, asked.seed)
    inputs = Inputs.of(adapters_of(asked.adapters, library, token))
    folders = inputs.fetched(library, token, asked.out, bar)
    loaded = [load_adapter(facts, folder) for facts, folder in zip(inputs.parents, folders, strict=True)]
    made = merge(loaded, how, asked.dtype)
    files = {**made.files, "README.md": merged_card(asked.out.name, inputs.parents, how).encode()}
    manifest = publish_adapter(asked.out, files, {"method": asked.method, "weights": list(weights)}, inputs.parents)
    ranks = sorted(set(made.ranks.values()))
    rank = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    lines = [f"{asked.out}: {len(made.ranks)} modules of rank {rank}, {manifest.size:,} bytes"]
    least = min(made.kept, key=lambda name: made.kept[name])
    if made.kept[least] < 1 - 1e-9:
        lines.append(f"Of the exact result {made.kept[least]:.2%} is kept in {least}, and more elsewhere.")
    return Report(
        made.findings, tuple(lines), {"ranks": dict(made.ranks), "kept": dict(made.kept), **manifest.as_dict()}
    )


def extract_lora(asked: argparse.Namespace, library: Library, token: str | None, bar: Bar) -> Report:
    """Raises Refused or OSError."""
    from worker.adapter_folders import Inputs, models_of, opened, publish_adapter
    from worker.lora.card import extracted_card
    from worker.lora.extracting import Wish, extract

    models = models_of((asked.tuned, asked.base), library, token)
    inputs = Inputs.of(models.with_adapters)
    folders = inputs.fetched(library, token, asked.out, bar)
    tuned, base = models.facts
    bar.begin("Extracting", sum(one.nbytes for one in tuned.tensors.values()))
    wish = Wish(asked.rank, asked.max_error, asked.seed, asked.dtype)
    with opened(models, folders) as sources:
        made = extract(tuned, base, sources, wish, bar.at)
    files = {**made.files, "README.md": extracted_card(asked.out.name, tuned, base, asked.rank).encode()}
    manifest = publish_adapter(asked.out, files, {"rank": asked.rank, "seed": asked.seed}, inputs.parents)
    saved = f", {len(made.saved)} saved whole" if made.saved else ""
    lines = [f"{asked.out}: LoRA on {len(made.ranks)} modules{saved}, {manifest.size:,} bytes"]
    if made.kept:
        least = min(made.kept, key=lambda name: made.kept[name])
        middle = sorted(made.kept.values())[len(made.kept) // 2]
        lines.append(
            f"Kept of a module's change: half have {middle:.1%} or more; least {made.kept[least]:.1%}, {least}."
        )
    data = {"ranks": dict(made.ranks), "kept": dict(made.kept), "saved": list(made.saved), **manifest.as_dict()}
    return Report(made.findings, tuple(lines), data)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="number format of the result; float32")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
