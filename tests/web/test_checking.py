"""The check beside the button: headers are read once, and experts that are alike are planned once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.library import headers
from app.library.facts import Library
from app.library.local import LocalRoots
from app.preflight import preflight
from app.settings import Settings
from app.web.checking import check
from tests.planning.models import llama_config, mixture_shapes

RECIPE = """
merge_method: linear
models:
- {model: local:disk/a, parameters: {weight: 0.3}}
- {model: local:disk/b, parameters: {weight: 0.7}}
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    for name in "ab":
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        save_file({key: np.zeros(shape, np.float16) for key, shape in SHAPES.items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(llama_config()))
    return Library(None, LocalRoots({"disk": tmp_path / "models"}))


SHAPES = mixture_shapes()


def test_a_changed_recipe_reads_no_header_again(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    parse = headers.parse_header
    monkeypatch.setattr(headers, "parse_header", lambda raw, file, size: read.append(file) or parse(raw, file, size))
    settings = Settings(data=tmp_path / "data")
    for weight in (0.3, 0.4, 0.5):
        assert check(RECIPE.replace("0.3", str(weight)), library, settings).ok
    assert len(read) == 2


def test_experts_are_planned_once_for_the_check_and_one_by_one_for_the_merge(library: Library, tmp_path: Path) -> None:
    checked, whole = check(RECIPE, library, Settings(data=tmp_path / "data")), preflight(RECIPE, library)
    assert checked.plan is not None
    assert whole.plan is not None
    assert {step.name for step in whole.plan.steps()} == set(SHAPES)
    assert sum(1 for _ in checked.plan.steps()) < len(SHAPES) / 2
    assert sum(step.alike for step in checked.plan.steps()) == len(SHAPES)
    assert checked.estimate is not None
    assert whole.estimate is not None
    assert checked.estimate.parameters == whole.estimate.parameters
    assert checked.estimate.seconds == whole.estimate.seconds
