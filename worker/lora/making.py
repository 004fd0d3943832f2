"""From what somebody wants made of adapters to the files of the result: for the worker and the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from app.adapting.outline import needed_files, range_words
from app.adapting.wanted import WantedExtract, WantedMerge
from app.library.facts import Library
from app.planning.carried import OF_TOKENIZER, Carried, carried_files
from app.planning.facts import ModelFacts
from app.planning.parents import Parents
from app.planning.plan import Carry, Plan
from app.preadapt import Preextract, preextract, premerge
from app.recipe.counted import counted
from app.recipe.findings import Finding, refuse
from app.recipe.references import parse_reference
from app.recipe.schema import Recipe
from app.storage.base import Manifest
from worker.engine.opened import Sources
from worker.lora.card import extracted_card, merged_card
from worker.lora.extracting import Extracted, extract
from worker.lora.loaded import load_adapter
from worker.lora.merging import merge_adapters
from worker.sizes import gigabytes
from worker.steps.check import MARGIN_BYTES
from worker.steps.fetch import fetch
from worker.steps.files import write_file
from worker.steps.publish import publish
from worker.steps.watch import Watch


@dataclass(frozen=True)
class MadeAdapter:
    """``files``: name -> content. ``about``: for the manifest. ``ranks`` and ``kept`` (share of the exact change's
    squares) by module; ``saved``: modules that are in it whole; ``lines`` tell people of both."""

    files: Mapping[str, bytes]
    about: Mapping[str, Any]
    parents: tuple[ModelFacts, ...]
    findings: tuple[Finding, ...]
    ranks: Mapping[str, int]
    kept: Mapping[str, float]
    lines: tuple[str, ...]
    saved: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Inputs:
    """Models or adapters whose weights are read whole. ``beside``: small files that are taken over from them."""

    parents: tuple[ModelFacts, ...]
    beside: tuple[Carry, ...] = ()

    @property
    def files_needed(self) -> tuple[tuple[int, str], ...]:
        weights = ((index, file.name) for index, facts in enumerate(self.parents) for file in needed_files(facts))
        return (*weights, *((one.parent, one.file) for one in self.beside))

    @property
    def download_bytes(self) -> int:
        sizes = [{file.name: file for file in one.files} for one in self.parents]
        files = (sizes[parent].get(name) for parent, name in self.files_needed)
        return sum(file.size for file in files if file is not None and not file.present)


def merged(
    wanted: WantedMerge, library: Library, watch: Watch, out: Path, *, title: str, token: str | None
) -> MadeAdapter:
    """Adapters made into one; nothing is written. ``out``: where the result will lie.

    Raises Refused, OSError, or what ``watch`` raises.
    """
    watch.enter("checking", "Reading the adapters' headers.")
    looked = premerge(wanted, library, token)
    _tell(looked.findings, watch)
    inputs = Inputs(looked.facts)
    _make_room(looked.outline.output_bytes, inputs, out, watch)
    folders = fetch(inputs, library, watch, token=token)
    count, size = len(looked.outline.ranks), looked.outline.output_bytes
    watch.enter(
        "merging", f"Merging {counted(len(folders), 'adapter')}, {counted(count, 'module')}.", tensors=count, size=size
    )

    def tell(done: int, module: str) -> None:
        watch.check()
        watch.progress(size * done // count, tensors=done, tensor=module)

    # The threads of BLAS spin while they wait for each other: beside another job that slows small matrices tenfold.
    with threadpool_limits(1, "blas"):
        loaded = [load_adapter(facts, folder) for facts, folder in zip(inputs.parents, folders, strict=True)]
        made = merge_adapters(loaded, wanted.how, wanted.dtype, tell)
    how = wanted.how
    files = {**made.files, "README.md": merged_card(title, inputs.parents, how).encode()}
    lines = (
        f"{counted(len(made.ranks), 'module')} of rank {range_words(made.ranks.values())}.",
        *_least_kept(made.kept),
    )
    about = {"method": how.method, "weights": list(how.weights), "base": looked.base}
    return MadeAdapter(files, about, inputs.parents, looked.findings, made.ranks, made.kept, lines)


def extracted(
    wanted: WantedExtract, library: Library, watch: Watch, out: Path, *, title: str, token: str | None
) -> MadeAdapter:
    """What a fine-tune has learnt beyond its base, as an adapter. Raises likewise."""
    watch.enter("checking", "Reading the models' headers.")
    looked = preextract(wanted, library, token)
    _tell(looked.findings, watch)
    tokenizer = _tokenizer(looked)
    inputs = Inputs(looked.parents.with_adapters, tokenizer.carries)
    _make_room(looked.outline.output_bytes, inputs, out, watch)
    folders = fetch(inputs, library, watch, token=token)
    tuned, base = looked.parents.facts
    pairs = looked.difference.pairs
    size = sum(pair.tuned.nbytes for pair in pairs)
    watch.enter("extracting", f"Taking {base.ref} away from {tuned.ref}.", tensors=len(pairs), size=size)
    done = iter(range(1, len(pairs) + 1))

    def tell(read: int, tensor: str) -> None:
        watch.check()
        watch.progress(read, tensors=next(done), tensor=tensor)

    with opened(looked.parents, folders) as sources, threadpool_limits(1, "blas"):
        made = extract(tuned, base, sources, wanted.wish, tell)
    beside = {one.file: (folders[one.parent] / one.file).read_bytes() for one in tokenizer.carries}
    beside |= {name: text.encode() for name, text in tokenizer.texts.items()}
    files = {**made.files, **beside, "README.md": extracted_card(title, tuned, base, wanted.wish.rank).encode()}
    about = {**wanted.as_params(), "base": _hub_name(base)}
    findings = (*looked.findings, *(one for one in made.findings if one not in looked.findings))
    lines = tuple(_extract_lines(made))
    return MadeAdapter(files, about, inputs.parents, findings, made.ranks, made.kept, lines, made.saved)


def _tokenizer(looked: Preextract) -> Carried:
    """The fine-tune's tokenizer when the adapter brings rows for other tokens than the base has."""
    if not any(pair.base is not None and pair.base.shape != pair.tuned.shape for pair in looked.difference.pairs):
        return Carried((), {})
    found = carried_files(0, looked.parents.facts, None)
    carries = tuple(one for one in found.carries if one.file in OF_TOKENIZER)
    return Carried(carries, {name: text for name, text in found.texts.items() if name in OF_TOKENIZER})


def _extract_lines(made: Extracted) -> Iterator[str]:
    saved = f", {len(made.saved)} saved whole" if made.saved else ""
    yield f"LoRA on {counted(len(made.ranks), 'module')}{saved}."
    if made.kept:
        least = min(made.kept, key=lambda name: made.kept[name])
        middle = sorted(made.kept.values())[len(made.kept) // 2]
        yield f"Kept of a module's change: half have {middle:.1%} or more; least {made.kept[least]:.1%}, {least}."


def _hub_name(base: ModelFacts) -> str | None:
    return parse_reference(base.ref).name if base.commit else None


def keep(made: MadeAdapter, work: Path, final: Path) -> Manifest:
    """The folder ``final`` with these files, whole or not at all; ``work`` on the same filesystem. Raises OSError."""
    work.mkdir(parents=True, exist_ok=True)
    written = [write_file(work, name, content) for name, content in made.files.items()]
    told = {"format": 1, "made_by": "weightloom", **made.about, "told": list(made.lines)}
    told["parents"] = [{"ref": parent.ref, "commit": parent.commit} for parent in made.parents]
    return publish(work, final, written, told)


def opened(models: Parents, folders: Sequence[Path]) -> Sources:
    """Opens the models' tensors; ``folders`` are those of ``models.with_adapters``."""
    plan = Plan(Recipe("passthrough"), models.with_adapters, (), adapters=models.adapters)
    return Sources(plan, folders)


def _tell(findings: Iterable[Finding], watch: Watch) -> None:
    for finding in findings:
        watch.log(finding.text if finding.level == "info" else str(finding))


def _least_kept(kept: Mapping[str, float]) -> Iterable[str]:
    least = min(kept, key=lambda name: kept[name])
    if kept[least] < 1 - 1e-9:
        yield f"Of the exact result {kept[least]:.2%} is kept in {least}, and more elsewhere."


def _make_room(output: int, inputs: Inputs, out: Path, watch: Watch) -> None:
    """Raises Refused (``disk-full``) when result and downloads do not fit on the disk."""
    need = output + inputs.download_bytes + MARGIN_BYTES
    free = shutil.disk_usage(next(folder for folder in (out, *out.parents) if folder.exists())).free
    missing = watch.reserve(need, free)
    if missing > 0:
        text = f"The disk is too full: {gigabytes(need)} are needed and {gigabytes(free)} are free."
        raise refuse("disk-full", str(out), text, f"Free {gigabytes(missing)}, or put the folder on another disk.")
