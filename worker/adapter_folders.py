"""What goes in and what comes out of the commands that make adapters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.library.facts import Library
from app.planning.facts import ModelFacts
from app.planning.parents import Parents, unfit
from app.planning.plan import Plan
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from app.recipe.schema import Recipe
from app.storage.base import Manifest
from worker.bar import Bar
from worker.console import Console, must_be_free, unfinished_folder
from worker.engine.opened import Sources
from worker.steps.fetch import fetch
from worker.steps.files import write_file
from worker.steps.publish import publish


@dataclass(frozen=True)
class Inputs:
    """Models or adapters whose weights are read whole."""

    parents: tuple[ModelFacts, ...]
    files_needed: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, parents: Iterable[ModelFacts]) -> Inputs:
        listed = tuple(parents)
        files = [
            (index, file) for index, facts in enumerate(listed) for file in facts.weight_files if _has(facts, file)
        ]
        return cls(listed, tuple(files))

    def fetched(self, library: Library, token: str | None, out: Path, bar: Bar) -> tuple[Path, ...]:
        """Each one's folder, its files fetched where they are not here. Raises Refused, also when ``out`` is taken."""
        must_be_free(out.resolve())
        return fetch(self, library, Console(unfinished_folder(out.resolve()), bar, []), token=token)


def _has(facts: ModelFacts, file: str) -> bool:
    """Not so for what an adapter brings: that lies with the adapter."""
    return any(one.name == file for one in facts.files)


def models_of(names: Sequence[str], library: Library, token: str | None) -> Parents:
    """The facts of models given by their names, which may have adapters on them. Raises Refused."""
    refs = [parse_reference(name, name) for name in names]
    parents = Parents(tuple(refs), tuple(library.facts(ref, token) for ref in refs))
    findings = [
        finding for ref, facts in zip(parents.refs, parents.facts, strict=True) for finding in unfit(ref, facts)
    ]
    if findings:
        raise Refused(findings)
    return parents


def opened(models: Parents, folders: Sequence[Path]) -> Sources:
    """Opens the models' tensors; ``folders`` are those of ``models.with_adapters``."""
    plan = Plan(Recipe("passthrough"), models.with_adapters, (), adapters=models.adapters)
    return Sources(plan, folders)


def adapters_of(names: Sequence[str], library: Library, token: str | None) -> list[ModelFacts]:
    """The facts of adapters given by their names. Raises Refused."""
    return [library.adapter(parse_reference(name, name), token) for name in names]


def publish_adapter(
    out: Path, files: Mapping[str, bytes], about: Mapping[str, Any], parents: Sequence[ModelFacts]
) -> Manifest:
    """The folder ``out`` with these files, whole or not at all. Raises OSError."""
    final = out.resolve()
    work = unfinished_folder(final)
    work.mkdir(parents=True, exist_ok=True)
    written = [write_file(work, name, content) for name, content in files.items()]
    told = {"format": 1, "made_by": "weightloom", **about}
    told["parents"] = [{"ref": parent.ref, "commit": parent.commit} for parent in parents]
    return publish(work, final, written, told)
