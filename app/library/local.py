"""Models on disk: the folders an operator opened to merging, and nothing outside them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from app.hub.fading import Fading
from app.library.headers import Piece
from app.library.weight_files import ADAPTER_WEIGHTS, CONFIG, ENDING, can_be_named, is_one_model, other_format
from app.planning.adapter_config import ADAPTER_CONFIG
from app.planning.facts import FileFacts
from app.planning.pooling import MODULES, STEP
from app.recipe.findings import Finding, Refused, did_you_mean, refuse
from app.settings import Settings

DEEPEST = 5
"""Folders below a root that are looked into."""
MOST_FOLDERS = 20_000
MOST_MODELS = 2_000
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model")
LARGEST_TOKENIZER = 128_000_000
RESULTS = "results"
_SCHEME = "local:"


def local_roots(settings: Settings) -> LocalRoots:
    """The opened folders, and the results of this server's own jobs: ``local:results/<job id>``. Who knows a job's id
    may use what it made; results are offered to nobody else."""
    return LocalRoots(settings.model_roots, {RESULTS: settings.artifacts})


def result_reference(job_id: str) -> str:
    """What a job has made, as a model or an adapter to merge."""
    return f"{_SCHEME}{RESULTS}/{job_id}"


class LocalRoots:
    """Folders by name. ``local:name/folder`` is a model in one of them. ``unlisted``: folders whose models can be named
    but are not listed; a listed one of the same name wins."""

    def __init__(self, roots: Mapping[str, Path], unlisted: Mapping[str, Path] = MappingProxyType({})) -> None:
        self._listed_roots = tuple(roots)
        self._roots = {name: Path(os.path.realpath(path)) for name, path in {**unlisted, **roots}.items()}
        self._listed: Fading[Mapping[str, bool]] = Fading(seconds=5, most=1)

    def models(self) -> Mapping[str, bool]:
        """References of all models and adapters in all roots, sorted: folders with a config and safetensors. Of each
        whether it is an adapter."""
        return self._listed.get("", self._list)

    def resolve(self, reference: str) -> Path:
        """The real folder of ``local:root/folder``, or a safetensors file in one, whose own name is kept.

        Raises Refused for anything else.

        The path is checked after following every link, so neither ``..`` nor a link leads out.
        """
        name, _, inside = reference.removeprefix(_SCHEME).partition("/")
        if name not in self._roots:
            raise self._unknown_root(name, reference)
        parts = inside.split("/") if inside else []
        if not inside.isprintable() or "\\" in inside or any(part in ("", ".", "..") for part in parts):
            raise refuse(
                "bad-local-path", reference, "This is not a plain path to a folder or file.",
                f"Write {_SCHEME}{name}/folder, without .. and //.",
            )  # fmt: skip
        root = self._roots[name]
        path = root.joinpath(*parts)
        real, folder = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent))
        if not is_inside(real, root) or (parts and not is_inside(folder, root)):
            raise refuse(
                "outside-root", reference, f"This is a link that leads out of {name}.",
                "Add the folder it leads to as a root of its own (WEIGHTLOOM_MODEL_ROOTS).",
            )  # fmt: skip
        if real.is_dir():
            return real
        if real.is_file():
            return weights_file(folder / path.name, reference)
        raise refuse(
            "model-not-found", reference,
            f"There is no {'file' if inside.endswith(ENDING) else 'folder'} {inside or '.'} in {name}.",
            did_you_mean(reference, self.models()) or "See the list of local models for what is there.",
        )  # fmt: skip

    def root_of(self, reference: str) -> Path:
        """The real path of the root that a reference names."""
        return self._roots[reference.removeprefix(_SCHEME).partition("/")[0]]

    def _unknown_root(self, name: str, reference: str) -> Refused:
        known = ", ".join(f"{_SCHEME}{root}/..." for root in sorted(self._listed_roots))
        advice = did_you_mean(name, self._listed_roots) or (
            f"There are: {known}" if known else "Set WEIGHTLOOM_MODEL_ROOTS=name=/path to open a folder."
        )
        return refuse("unknown-root", reference, f'No folder of models is known as "{name}".', advice)

    def _list(self) -> Mapping[str, bool]:
        found: dict[str, bool] = {}
        for name in sorted(self._listed_roots):
            root = self._roots[name]
            for folder, is_adapter in _models_below(root):
                inside = folder.relative_to(root).as_posix()
                found[f"{_SCHEME}{name}" if inside == "." else f"{_SCHEME}{name}/{inside}"] = is_adapter
                if len(found) >= MOST_MODELS:
                    return MappingProxyType(found)
        return MappingProxyType(found)


def weights_file(path: Path, reference: str) -> Path:
    """The same path, if it may be a safetensors file by its name. Raises Refused."""
    if path.name.endswith(ENDING):
        return path
    other = other_format(path.name) or Finding(
        "error", "model-not-found", reference, f"{path.name} is a file, and not one of weights.",
        f"Name a folder, or a {ENDING} file.",
    )  # fmt: skip
    raise Refused(other)


def is_inside(real: Path, root: Path) -> bool:
    """Whether a real path lies in a real root."""
    return os.path.commonpath([real, root]) == str(root)


def _models_below(root: Path) -> Iterator[tuple[Path, bool]]:
    """Model folders, in order of their names, each found once however many links lead to it, and whether an adapter is
    all there is in it. Not below a model. Weights without a config are a folder if they are one model for sure, else
    each of their files is one."""
    visited: set[str] = set()
    waiting = [(root, 0)]
    while waiting and len(visited) < MOST_FOLDERS:
        folder, depth = waiting.pop()
        real = os.path.realpath(folder)
        if real in visited or not is_inside(Path(real), root):
            continue
        visited.add(real)
        try:
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        names = {entry.name for entry in here}
        weights = {name for name in names if name.endswith(".safetensors")}
        if weights and names & {CONFIG, ADAPTER_CONFIG}:
            yield folder, CONFIG not in names or (ADAPTER_CONFIG in names and weights == {ADAPTER_WEIGHTS})
            continue
        if is_one_model(names):
            yield folder, False
        else:
            files = (folder / entry.name for entry in here if can_be_named(entry.name) and entry.is_file())
            yield from ((file, False) for file in files if is_inside(Path(os.path.realpath(file)), root))
        if depth < DEEPEST:
            folders = [entry for entry in here if not entry.name.startswith(".") and entry.is_dir()]
            waiting += [(folder / entry.name, depth + 1) for entry in reversed(folders)]


def _listed(folder: Path) -> list[Path]:
    here = sorted(folder.iterdir())
    if folder / MODULES in here:
        here += [
            path for step in here if STEP.fullmatch(step.name) and step.is_dir() for path in sorted(step.iterdir())
        ]
    return here


def folder_of(place: Path) -> Path:
    """The folder of a model that is one, or that is a file in one."""
    return place if place.is_dir() else place.parent


@dataclass(frozen=True)
class LocalFiles:
    """The files of one folder, or one file by itself, for ``read_model``."""

    folder: Path
    files: Mapping[str, FileFacts]
    fingerprint: tuple[tuple[str, int, int, int], ...]

    @classmethod
    def of(cls, place: Path, inside: Path | None = None) -> LocalFiles:
        """List a folder (below it only the steps of an embedding model), or take a single file.

        Raises Refused when a link leads out of the real path ``inside``.
        """
        folder = folder_of(place)
        files: dict[str, FileFacts] = {}
        marks = []
        for path in _listed(folder) if folder == place else [place]:
            try:
                found = path.stat()
            except OSError:
                continue
            name = path.relative_to(folder).as_posix()
            if not stat.S_ISREG(found.st_mode) or not name.isprintable():
                continue
            if inside is not None and not is_inside(Path(os.path.realpath(path)), inside):
                raise refuse(
                    "outside-root", name, f"{name} is a link that leads out of the folder of models.",
                    "Put the file itself there.",
                )  # fmt: skip
            files[name] = FileFacts(name, found.st_size, present=True)
            marks.append((name, found.st_size, found.st_mtime_ns, found.st_ino))
        return cls(folder, files, tuple(marks))

    def with_content_ids(self) -> tuple[FileFacts, ...]:
        """The files, those of the tokenizer with the ids the Hub would give them, so that the two can be compared."""
        return tuple(
            self._identified(file) if file.name in TOKENIZER_FILES and file.size <= LARGEST_TOKENIZER else file
            for file in self.files.values()
        )

    def _identified(self, file: FileFacts) -> FileFacts:
        content = self._read(Piece(file.name, 0, file.size))
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return replace(file, sha256=hashlib.sha256(content).hexdigest(), oid=blob)

    def read(self, pieces: list[Piece]) -> list[bytes]:
        """The bytes of each piece; fewer when a file was cut meanwhile. Raises Refused."""
        return [self._read(piece) for piece in pieces]

    def _read(self, piece: Piece) -> bytes:
        try:
            with (self.folder / piece.file).open("rb") as file:
                file.seek(piece.begin)
                return file.read(piece.end - piece.begin)
        except OSError as error:
            raise refuse(
                "unreadable-file", piece.file, f"{piece.file} cannot be read ({error.strerror}).",
                "Check that it is there and that this account may read it.",
            ) from error  # fmt: skip
