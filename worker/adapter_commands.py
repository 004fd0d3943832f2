"""The commands whose result is an adapter: merge-adapters and extract-lora."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.adapting.methods import METHODS
from app.adapting.wanted import DENSITY, DTYPES, read_extract, read_merge
from app.recipe.findings import Finding
from worker.arguments import numbers, share, whole

if TYPE_CHECKING:
    from app.library.facts import Library
    from worker.bar import Bar
    from worker.console import Console
    from worker.lora.making import MadeAdapter


@dataclass(frozen=True)
class Report:
    """What a command says in the end: findings, lines for people, and the same for programs."""

    findings: tuple[Finding, ...]
    lines: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)


Make = Callable[[argparse.Namespace, "Library", "str | None", "Bar"], Report]
Add = Callable[[str, Make, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    _register_merge(add)
    _register_extract(add)


def _register_merge(add: Add) -> None:
    one = add(
        "merge-adapters", merge_adapters, "Merge LoRA adapters of one base into one adapter, without touching the base."
    )
    one.add_argument("adapters", nargs="+", metavar="ADAPTER", help="a folder, local:root/name or a Hub id")
    one.add_argument("out", type=Path, metavar="OUT_DIR", help="new or empty folder for the result")
    one.add_argument(
        "--method", choices=tuple(METHODS), default="svd",
        help="svd (the default): the best approximation of the weighted sum, exact without --rank; cat: the sum, "
        "exactly, with all ranks added; factor_linear: PEFT's linear, a sum of the factors; others: what they do to "
        "models, in the adapters' common space",
    )  # fmt: skip
    one.add_argument("--weights", type=numbers, metavar="W,W,...", help="one for each adapter; 1 without")
    one.add_argument("--rank", type=whole, help="the result's rank; as large as needed without")
    one.add_argument("--density", type=share, default=DENSITY, help="what TIES and DARE keep; 0.5 without")
    one.add_argument("--factor", type=float, default=1.0, help="multiplies the result (λ); 1 without")
    one.add_argument(
        "--normalize", action=argparse.BooleanOptionalAction,
        help="divide by the weights; so do linear, ties and dare_ties without being told",
    )  # fmt: skip
    one.add_argument("--seed", type=int, default=0, help="for DARE; 0 without")
    _common(one)


def _register_extract(add: Add) -> None:
    one = add("extract-lora", extract_lora, "Make a LoRA adapter of what a fine-tune changed in its base.")
    one.add_argument("tuned", metavar="FINETUNE", help="a folder, local:root/name or a Hub id")
    one.add_argument("base", metavar="BASE", help="the model it was made from")
    one.add_argument("out", type=Path, metavar="OUT_DIR", help="new or empty folder for the result")
    one.add_argument("--rank", type=whole, required=True, help="of every module, at most")
    one.add_argument(
        "--max-error", type=share, help="less rank where so much of a change may be missing; 0.1 is a tenth of it"
    )
    one.add_argument(
        "--modules",
        default="",
        metavar="NAME,...",
        help="last parts of the names of the layers that get LoRA; all without",
    )
    one.add_argument(
        "--whole", action=argparse.BooleanOptionalAction, default=True,
        help="save along what else changed: norms, embeddings, head, biases; yes unless told otherwise",
    )  # fmt: skip
    one.add_argument("--seed", type=int, default=0, help="for the random projection; 0 without")
    _common(one)


def merge_adapters(asked: argparse.Namespace, library: Library, token: str | None, bar: Bar) -> Report:
    """Raises Refused or OSError."""
    from worker.lora.making import merged

    wanted = read_merge(
        asked.adapters, weights=asked.weights, method=asked.method, rank=asked.rank, density=asked.density,
        factor=asked.factor, normalize=asked.normalize, seed=asked.seed, dtype=asked.dtype,
    )  # fmt: skip
    out, watch = _place(asked, bar)
    return _kept(merged(wanted, library, watch, out, title=out.name, token=token), asked.out)


def extract_lora(asked: argparse.Namespace, library: Library, token: str | None, bar: Bar) -> Report:
    """Raises Refused or OSError."""
    from worker.lora.making import extracted

    wanted = read_extract(
        asked.tuned, asked.base, rank=asked.rank, max_error=asked.max_error, seed=asked.seed, dtype=asked.dtype,
        modules=asked.modules.split(","), whole=asked.whole,
    )  # fmt: skip
    out, watch = _place(asked, bar)
    return _kept(extracted(wanted, library, watch, out, title=out.name, token=token), asked.out)


def _place(asked: argparse.Namespace, bar: Bar) -> tuple[Path, Console]:
    """The folder of the result, and who looks on. Raises Refused when the folder is taken."""
    from worker.console import Console, must_be_free, unfinished_folder

    out = asked.out.resolve()
    must_be_free(out)
    return out, Console(unfinished_folder(out), bar, [])


def _kept(made: MadeAdapter, out: Path) -> Report:
    from worker.console import unfinished_folder
    from worker.lora.making import keep

    final = out.resolve()
    manifest = keep(made, unfinished_folder(final), final)
    lines = (f"{out}: {made.lines[0].removesuffix('.')}, {manifest.size:,} bytes", *made.lines[1:])
    data = {"ranks": dict(made.ranks), "kept": dict(made.kept), "saved": list(made.saved), **manifest.as_dict()}
    return Report(tuple(one for one in made.findings if one.level != "info"), lines, data)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="number format of the result; float32")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
