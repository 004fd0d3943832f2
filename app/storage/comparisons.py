"""Finished comparisons of weights: one JSON file a job, there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from app.comparing.comparison import Comparison


class Comparisons:
    """``<folder>/<job id>.json``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, job_id: str, comparison: Comparison) -> None:
        """Keep a comparison; one of the same job before it is replaced. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(job_id)
        work = path.with_suffix(f".{os.getpid()}.part")
        try:
            with work.open("w", encoding="utf-8") as file:
                file.write(comparison.as_json())
                file.flush()
                os.fsync(file.fileno())
            work.replace(path)
        finally:
            work.unlink(missing_ok=True)

    def get(self, job_id: str) -> Comparison | None:
        try:
            return Comparison.of_json(self._path(job_id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def delete(self, job_id: str) -> None:
        self._path(job_id).unlink(missing_ok=True)

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}.json"
