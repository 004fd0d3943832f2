"""docs/recipes.md shows recipes that really read, and names every key and method rule it should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.recipe.reading import read_recipe
from app.recipe.writing import write_recipe

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_reads_without_a_finding_and_survives_writing(number: int):
    reading = read_recipe(EXAMPLES[number])
    assert reading.findings == ()
    assert reading.recipe is not None
    assert read_recipe(write_recipe(reading.recipe)).recipe == reading.recipe


def test_every_key_of_a_recipe_is_described():
    keys = [
        "merge_method", "base_model", "models", "slices", "modules", "parameters", "dtype", "out_dtype", "tokenizer",
        "tokenizer_source", "chat_template", "head_curve", "seed", "name",
    ]  # fmt: skip
    finding = next(one for one in read_recipe("zzzz: 1").findings if one.code == "unknown-key")
    assert finding.fix == f"Known: {', '.join(keys)}."
    table = TEXT.partition("## The keys")[2].partition("## ")[0]
    assert [key for key in keys if f"`{key}`" not in table] == []
