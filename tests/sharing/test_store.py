"""A recipe's link follows its meaning, keeps its origin, and never changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.db import make_engine, migrate, sessions
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe
from app.settings import Settings
from app.sharing.store import SharedRecipes, share_id


def recipe(weight: object = 1) -> Recipe:
    found = read_recipe(f"merge_method: linear\nmodels:\n- model: a/b\n  parameters: {{weight: {weight}}}").recipe
    assert found is not None
    return found


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SharedRecipes]:
    settings = Settings(data=tmp_path)
    migrate(settings)
    engine = make_engine(settings)
    yield SharedRecipes(sessions(engine))
    engine.dispose()


def test_the_link_follows_the_meaning(shared: SharedRecipes) -> None:
    one = shared.share(recipe(1), "One")
    again = shared.share(recipe("1.0"), "Another title")
    assert (again.id, again.title) == (one.id, "One")
    assert shared.share(recipe(0.9), "Two").id != one.id
    assert read_recipe(one.text).recipe == recipe(1)
    assert share_id(recipe(1)) == one.id


def test_forks_know_their_origin(shared: SharedRecipes) -> None:
    origin = shared.share(recipe(1), "Origin")
    fork = shared.share(recipe(0.5), "Fork", origin.id)
    stray = shared.share(recipe(0.4), "Stray", "no-such-recipe")
    assert fork.forked_from == origin.id
    assert stray.forked_from is None
    assert [one.id for one in shared.forks(origin.id)] == [fork.id]
    assert {one.title for one in shared.newest()} == {"Origin", "Fork", "Stray"}
    assert shared.get("nothing") is None


def test_many_at_once_get_one_link(shared: SharedRecipes) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = {one.id for one in pool.map(lambda _: shared.share(recipe(0.3), "Same"), range(24))}
    assert len(ids) == 1
    assert len(shared.newest()) == 1
