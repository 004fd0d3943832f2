"""Remarks in the builder name the parents by their letters."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.recipe.form import view
from app.web.pages.draft import from_text
from app.web.pages.lettered import lettered
from app.web.pages.parent_cards import ParentCard, parent_cards
from tests.web.pages.html import elements, one

TIES = """merge_method: ties
base_model: loom/base
models:
- {model: loom/code, parameters: {weight: 1, density: 0.5}}
- {model: loom/code-2, parameters: {weight: 1, density: 0.5}}
"""
LIVE = {"HX-Request": "true", "HX-Request-Type": "partial"}
A = '<abbr class="t-A" title="loom/code">A</abbr>'
B = '<abbr class="t-B" title="loom/code-2">B</abbr>'
BASE = '<abbr class="t-base" title="loom/base">{}</abbr>'


def cards(text: str) -> tuple[ParentCard, ...]:
    recipe = from_text(text).recipe
    assert recipe is not None
    return parent_cards(view(recipe, {}), {})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("loom/code and loom/code-2 agree.", f"{A} and {B} agree."),
        ("loom/code differs from loom/base.", f"{A} differs from {BASE.format('the base')}."),
        ("loom/base has no licence.", f"{BASE.format('The base')} has no licence."),
        ("loom/code-3, my/loom/code, loom/code@main and loom/code:x stay", None),
        ("<b>Nothing</b> & nobody", "&lt;b&gt;Nothing&lt;/b&gt; &amp; nobody"),
    ],
)
def test_whole_names_become_letters(said: str, told: str | None) -> None:
    assert lettered(said, cards(TIES)) == (said if told is None else told)


def test_nothing_is_said_by_letters_while_there_are_no_models() -> None:
    assert lettered("loom/code", ()) == "loom/code"


def test_problems_are_told_in_full(online: TestClient) -> None:
    text = "merge_method: linear\nmodels:\n- {model: loom/code, parameters: {weight: 1}}\n"
    page = online.post("/build/check", data={"recipe": text.replace("code", "gone")}, headers=LIVE).text
    problem = next(item for item in elements(page, "li") if "error" in item.attributes.get("class", ""))
    assert "loom/gone" in problem.text


def test_what_stands_in_the_way_can_be_settled_where_the_loom_would_be(online: TestClient) -> None:
    page = online.post("/build/check", data={"recipe": TIES.replace("base_model: loom/base\n", "")}, headers=LIVE).text
    place = next(part for part in elements(page, "hx-partial") if part.attributes["hx-target"] == "#blend")
    assert "Not ready to weave" in place.text
    assert "TIES needs a base model." in place.text
    assert "Take loom/code-2" in place.text


def test_comparing_the_parents_stands_beside_the_views(online: TestClient) -> None:
    page = online.post("/build", data={"recipe": TIES, "action": "look"}).text
    button = next(
        found for found in elements(page, "button") if found.attributes.get("formaction") == "/compare/parents"
    )
    assert button.text.strip() == "Compare weights"
    assert "build" in button.inside
    assert one(page, "button", id="tab-yaml")
