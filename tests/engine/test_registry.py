"""The catalogue and the engine offer the same methods."""

from __future__ import annotations

from app.recipe.catalogue import METHODS as CATALOGUE
from worker.engine.methods import METHODS


def test_every_method_of_the_catalogue_has_an_implementation() -> None:
    assert set(METHODS) == set(CATALOGUE)


def test_every_implementation_says_its_formula() -> None:
    assert [name for name, make in METHODS.items() if not make.__doc__] == []
