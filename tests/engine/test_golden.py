"""The whole way from a recipe text to weight files, against what mergekit 0.1.5 made of the same recipes in fp32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.preflight import gather_facts
from app.recipe.reading import read_recipe
from tests.engine.by_hand import GOLDEN
from tests.support.checkpoints import read_dtypes, read_tensors
from tests.support.quiet import Quiet
from worker.engine.execute import execute
from worker.engine.methods import METHODS
from worker.steps.align import aligned

CASES = GOLDEN / "cases"
AGREEMENT = 2e-6
"""Of each tensor's largest value."""

COVERED = (
    "arcee-fusion",
    "breadcrumbs",
    "breadcrumbs-ties",
    "karcher",
    "linear",
    "linear-gradient-filter",
    "linear-unnormalized",
    "model-stock",
    "model-stock-filterwise",
    "multislerp",
    "nearswap",
    "nuslerp",
    "nuslerp-base-rowwise",
    "passthrough-scale",
    "passthrough-stack",
    "ram",
    "ramplus-tl",
    "sce",
    "slerp",
    "slerp-gradient",
    "task-arithmetic",
    "task-arithmetic-lambda",
    "ties",
    "ties-unnormalized-lambda",
    "tokenizer-base",
    "tokenizer-union",
)
"""Every case of a method the engine registers: a method that is added brings its cases here."""


@pytest.fixture(scope="module")
def library():
    library = Library(hub=None, roots=LocalRoots({}), folder=GOLDEN)
    yield library
    library.close()


def planned(case: str, library: Library) -> Plan:
    reading = read_recipe((CASES / case / "recipe.yml").read_text(encoding="utf-8"))
    assert reading.recipe is not None, reading.findings
    facts, problems = gather_facts(reading.recipe, library, None)
    assert not problems
    return make_plan(reading.recipe, facts)


def merged(case: str, library: Library, folder: Path) -> Path:
    """Merge a case into ``folder``: weights and texts."""
    plan = planned(case, library)
    with aligned(plan, [GOLDEN / parent.ref for parent in plan.parents], folder, Quiet()) as (laid_out, places):
        execute(laid_out, places, folder)
    for name, text in plan.texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("case", COVERED)
def test_a_merge_agrees_with_the_golden_one(case: str, library: Library, tmp_path: Path):
    folder = merged(case, library, tmp_path)
    mine, expected = read_tensors(folder), read_tensors(CASES / case)
    assert mine.keys() == expected.keys()
    assert set(read_dtypes(folder).values()) == {"float32"}
    for name, values in expected.items():
        assert mine[name].shape == values.shape, name
        assert np.abs(mine[name] - values).max() <= AGREEMENT * np.abs(values).max(), name
    config, golden = (json.loads((one / "config.json").read_text()) for one in (folder, CASES / case))
    for key in ("architectures", "num_hidden_layers", "vocab_size", "hidden_size", "dtype"):
        assert config[key] == golden[key], key


@pytest.mark.parametrize("case", ["linear", "passthrough-stack", "tokenizer-base", "tokenizer-union"])
def test_transformers_loads_a_golden_merge_without_a_missing_or_unexpected_key(case, library, tmp_path: Path):
    import transformers

    folder = merged(case, library, tmp_path)
    _, remarks = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(remarks.values()), remarks


def test_every_golden_case_of_a_method_the_engine_has_is_covered():
    recipes = {path.name: yaml.safe_load((path / "recipe.yml").read_text()) for path in CASES.iterdir()}
    within_reach = {case for case, recipe in recipes.items() if recipe["merge_method"] in METHODS}
    assert within_reach == set(COVERED)
    assert len(recipes) == 26
