"""Finished jobs with real files, made without a worker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from app.adapting.wanted import read_merge
from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.settings import Settings


def finished_job(
    database: Sessions, settings: Settings, files: Mapping[str, bytes], kind: str = "merge", **about: Any
) -> Job:
    """A succeeded job whose result holds ``files``; ``about``: what else its manifest tells."""
    store = Store(database)
    recipe, params = "merge_method: linear", {}
    if kind == "merge-adapters":
        recipe, params = "", read_merge(["a/one", "a/two"]).as_params()
    job, _ = store.submit(NewJob(kind, recipe=recipe, title="Linear of a, b", params=params))
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=600)
    assert claim is not None
    keep_files(settings, job.id, files, **about)
    assert claim.succeed({"bytes": sum(map(len, files.values())), "files": len(files)})
    done = store.get(job.id)
    assert done is not None
    return done


def keep_files(settings: Settings, job_id: str, files: Mapping[str, bytes], **about: Any) -> None:
    """An artifact of these files; ``about``: what else its manifest tells."""
    folder = settings.artifacts / job_id
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    listed = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    (folder / "MANIFEST.json").write_text(json.dumps({**about, "files": listed}))
