"""The upload of a finished merge to the Hub: the one step of that kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.hub.upload import upload_folder
from app.recipe.findings import refuse
from app.storage.local import read_manifest
from worker.sizes import gigabytes
from worker.steps.watch import Watch


def upload(folder: Path, params: Mapping[str, Any], endpoint: str, token: str, watch: Watch) -> Mapping[str, Any]:
    """Put the artifact in ``folder`` into the repository ``params["repo"]``. Returns ``{"url", "commit"}``.

    Raises Refused, or what ``watch`` raises.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise refuse("no-artifact", "", "The checkpoint is not there any more.", "Run the merge again, then upload.")
    repo = str(params["repo"])
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    watch.enter("uploading", f"Uploading {len(sizes)} files, {gigabytes(sum(sizes))}, to {repo}.", size=sum(sizes))

    def on_progress(file: str, done: int, _total: int) -> None:
        watch.progress(done, tensor=file)

    result = upload_folder(
        endpoint, repo, folder, token,
        private=bool(params.get("private", True)), message="Upload a merge", on_progress=on_progress, check=watch.check,
    )  # fmt: skip
    watch.log(f"It is at {result.url}.")
    return {"url": result.url, "commit": result.commit}
