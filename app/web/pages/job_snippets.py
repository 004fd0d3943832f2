"""Lines to copy: fetch a finished checkpoint, load it, put it on the Hub."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from app.planning.loading import DIFFUSERS, SAFETENSORS, library_of, with_diffusers, with_safetensors
from app.storage.base import ArtifactFile


@dataclass(frozen=True, slots=True)
class Snippets:
    """``fetch`` and ``publish`` are for a shell, ``load`` is Python, which uses the library ``loader``."""

    fetch: str
    load: str
    publish: str
    loader: str


def snippets(
    title: str, job_id: str, origin: str, files: Sequence[ArtifactFile], adapts: str | None = None
) -> Snippets:
    """``origin`` is this server's address as the reader sees it, without a slash at the end. ``adapts``: for an adapter
    the model that it was made for, or an empty string."""
    folder = folder_name(title)
    lines = [f"mkdir -p {folder} && cd {folder}"]
    folders = sorted({str(PurePosixPath(file.name).parent) for file in files} - {"."})
    lines += [f"mkdir -p {shlex.quote(one)}" for one in folders]
    lines += [
        f"curl -fC - -o {shlex.quote(file.name)} {shlex.quote(_address(origin, job_id, file.name))}" for file in files
    ]
    lines += ["sha256sum -c <<'SUMS'", *(f"{file.sha256}  {file.name}" for file in files), "SUMS", ""]
    load = _load_adapter(folder, adapts) if adapts is not None else _load_model(folder, [one.name for one in files])
    publish = f"hf upload --private YOUR_NAME/{folder} {folder}\n"
    return Snippets("\n".join(lines), load, publish, _loader(files, adapts))


def _loader(files: Sequence[ArtifactFile], adapts: str | None) -> str:
    """What the lines to load it use, by its name."""
    if adapts is not None:
        return "PEFT"
    return library_of([one.name for one in files])


def _load_model(folder: str, names: Sequence[str]) -> str:
    library = library_of(names)
    if library == SAFETENSORS:
        return with_safetensors(names, f'"{folder}"')
    if library == DIFFUSERS:
        return with_diffusers(f'"{folder}"')
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}")\n'
        f'model = AutoModelForCausalLM.from_pretrained("{folder}", dtype="auto")\n'
    )


def _load_adapter(folder: str, base: str) -> str:
    """``base`` comes from an adapter's settings: it is written as the text that it is."""
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM\n\n"
        f'model = AutoModelForCausalLM.from_pretrained({json.dumps(base or "THE_BASE_MODEL")}, dtype="auto")\n'
        f'model = PeftModel.from_pretrained(model, "{folder}")\n'
    )


def folder_name(title: str) -> str:
    """A plain folder name out of a title: ASCII letters, digits, ``.``, ``_`` and ``-``."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", title.replace("×", "x")).strip("-._")
    return name[:80].rstrip("-._") or "merged-model"


def _address(origin: str, job_id: str, name: str) -> str:
    return f"{origin}/api/jobs/{job_id}/files/{quote(name)}"
