"""The recipe is found in a model card, in the ways cards are written."""

from __future__ import annotations

import time

import pytest

from app.recipe.from_card import recipe_text
from app.recipe.reading import read_recipe

RECIPE = "merge_method: linear\nmodels:\n  - model: a/b\n    parameters:\n      weight: 1.0\n"
FRONT = "---\nbase_model:\n- a/b\ntags: [merge]\nlicense: mit\n---\n# A merge\n\nIt uses merge_method: linear.\n\n"
CARDS = {
    "fenced": f"{FRONT}```yaml\n{RECIPE}```\n\nBye.\n",
    "no language": f"{FRONT}```\n{RECIPE}```\n",
    "tildes": f"{FRONT}~~~ yml\n{RECIPE}~~~\n",
    "never closed by fewer": f"{FRONT}````yaml\n# ```\n{RECIPE}````\n",
    "after another block": f"{FRONT}```yaml\nlicense: mit\n```\n```python\nmerge_method = 1\n```\n"
    f"```yaml\n{RECIPE}```\n",
    "in a list": FRONT
    + "1. So:\n\n   ```yaml\n"
    + "".join(f"   {line}\n" for line in RECIPE.splitlines())
    + "   ```\n",
    "carriage returns": f"{FRONT}```yaml\n{RECIPE}```\n".replace("\n", "\r\n"),
    "several, the first counts": f"```yaml\n{RECIPE}```\n```yaml\n{RECIPE.replace('a/b', 'c/d')}```\n",
    "several stages": f"# x\n```yaml\nname: one\n{RECIPE}---\n{RECIPE}```\n",
}


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_is_opened_at_its_recipe(card: str) -> None:
    found = recipe_text(card)
    assert found.startswith(("merge_method", "# ```", "name: one"))
    assert "Bye" not in found and "a/b" in found
    if "name: one" not in found:
        assert read_recipe(found).recipe == read_recipe(RECIPE).recipe


@pytest.mark.parametrize("text", [RECIPE, "", "# Only words\n", f"{FRONT}```yaml\nlicense: mit\n```\n", "```yaml\n- merge_method\n```", "x\n```\nmerge_method: &a linear\n```"])  # fmt: skip  # noqa: E501
def test_what_holds_none_stays_as_it_is(text: str) -> None:
    assert recipe_text(text) == text


def test_hostile_cards_take_little_time() -> None:
    before = time.process_time()
    for text in (
        "```\nmerge_method: x\n" * 15_000,
        "`" * 250_000 + " merge_method",
        "merge_method: [" * 17_000,
        "```yaml\nmerge_method: {{{{\n```\n" * 8_000,
    ):
        recipe_text(text)
    assert time.process_time() - before < 10
