"""The ready recipes: readable without a remark, and honest about what they cost."""

from __future__ import annotations

import re

import pytest

from app.recipe.catalogue import METHODS
from app.recipe.guide import RULES
from app.recipe.presets import FOLDER, Preset, preset, presets
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe

ALL = {one.slug: one for one in presets()}
GIGABYTES = re.compile(r"([\d.]+) GB to fetch, ([\d.]+) GB for the result, ")


def recipe_of(one: Preset) -> Recipe:
    reading = read_recipe(one.text)
    assert reading.recipe is not None
    return reading.recipe


@pytest.mark.parametrize("slug", ALL)
def test_a_ready_recipe_reads_without_a_remark(slug: str) -> None:
    reading = read_recipe(ALL[slug].text)
    assert not [finding for finding in reading.findings if finding.level != "info"]
    assert recipe_of(ALL[slug]).parents()


@pytest.mark.parametrize("slug", ALL)
def test_it_says_when_it_works_and_what_it_costs(slug: str) -> None:
    one = ALL[slug]
    assert one.when.endswith(".")
    assert one.cost.endswith(".")
    assert one.gist.endswith(".")
    assert len(one.gist) <= 45


@pytest.mark.parametrize("slug", ALL)
def test_the_bytes_it_tells_are_those_of_its_models(slug: str) -> None:
    """Two bytes a parameter; a stack grows with its layers, its embeddings do not."""
    one = ALL[slug]
    told = GIGABYTES.match(one.cost)
    assert told is not None
    recipe = recipe_of(one)
    size = one.parameters * 2e-9
    assert float(told[1]) == pytest.approx(size * len(recipe.parents()), rel=0.15, abs=0.06)
    depth = {"135 M": 30, "7.2 B": 32}
    layers = sum(piece.sources[0].layers[1] - piece.sources[0].layers[0] for piece in recipe.slices)  # type: ignore[index]
    grown = 1.0 if not layers else 1 + (layers / depth[one.size] - 1) * (0.79 if one.size == "135 M" else 0.96)
    assert float(told[2]) == pytest.approx(size * grown, rel=0.15, abs=0.06)


def test_there_are_two_groups_and_the_known_patterns_in_both() -> None:
    for classic in (False, True):
        group = [one for one in ALL.values() if one.classic == classic]
        methods = {recipe_of(one).merge_method for one in group}
        assert methods >= {"slerp", "ties", "dare_ties", "task_arithmetic", "passthrough"}
        for pattern in ("Base + Instruct", "Chat + Code", "DPO + SFT", "Depth up-scaling"):
            assert [one for one in group if one.title.startswith(pattern)]
    assert all(one.parameters <= 2e9 for one in ALL.values() if not one.classic)


def test_a_task_vector_is_carried_over_by_adding_and_taking_away() -> None:
    """As mergekit can read it; the small one names the method that does it."""
    recipe = recipe_of(ALL["classic-chat-vector"])
    assert [source.parameters["weight"][0].value for source in recipe.models] == [1.0, -1.0]
    assert recipe_of(ALL["task-vector-transfer"]).merge_method == "transfer"


def test_titles_and_files_are_distinct() -> None:
    assert len({one.title for one in ALL.values()}) == len(ALL) == len(list(FOLDER.glob("*.yml")))
    assert preset("self-stack") is ALL["self-stack"]
    assert preset("nothing") is None


def test_what_the_guide_names_has_a_ready_recipe() -> None:
    """But for a few that need nothing but their models."""
    named = {pick.name for rule in RULES for pick in rule.advice.picks}
    ready = {recipe_of(one).merge_method for one in ALL.values()}
    assert named - ready <= {"linear", "karcher"}
    assert named <= set(METHODS)
