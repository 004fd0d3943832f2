"""``read(write(recipe)) == recipe`` and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.planning.pinning import map_references
from app.recipe.catalogue import METHODS, Method, Parameter
from app.recipe.findings import Refused
from app.recipe.identity import read_share_token, recipe_hash, share_token
from app.recipe.reading import read_recipe
from app.recipe.schema import (
    ModelRef,
    Module,
    Recipe,
    Rule,
    Setting,
    Slice,
    Source,
    TokenizerSpec,
    TokenRule,
    TokenSource,
)
from app.recipe.writing import write_recipe

WORD = st.text("abcXYZ019_-", min_size=1, max_size=8).map(lambda text: "m" + text)
NAMES = st.builds("{}/{}".format, WORD, WORD)
PLAIN = st.builds(ModelRef, NAMES, st.none() | st.sampled_from(["main", "v1.0", "a" * 40]))
REFS = PLAIN | st.builds(replace, PLAIN, adapter=PLAIN)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)


def scalars(parameter: Parameter) -> st.SearchStrategy[bool | int | float]:
    if parameter.kind == "boolean":
        return st.booleans()
    low = parameter.minimum if parameter.minimum is not None else -4.0
    high = parameter.maximum if parameter.maximum is not None else 50.0
    if parameter.kind == "integer":
        return st.integers(int(low), int(high))
    return st.floats(low, high, allow_nan=False)


def parameter_settings(parameter: Parameter) -> st.SearchStrategy[Setting]:
    value = scalars(parameter)
    values = value | st.lists(value, min_size=1, max_size=5).map(tuple) if parameter.curve else value
    plain = st.tuples(st.builds(Rule, values))
    filters = st.sampled_from(["self_attn", "mlp", "*", "0", "true", "a: b"])
    ruled = st.lists(st.builds(Rule, values, filters), min_size=1, max_size=3).map(tuple)
    return plain | st.builds(lambda rules, last: (*rules, *last), ruled, plain)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    method = draw(st.sampled_from(list(METHODS.values())))
    low = method.min_parents
    count = draw(st.integers(low, min(method.max_parents or low + 3, low + 3)))
    refs = draw(st.lists(REFS, min_size=count + 1, max_size=count + 1, unique=True))
    base = refs[0] if method.base == "required" or (method.base == "optional" and draw(st.booleans())) else None
    models = refs[:count] if method.base_counts else refs[1 : count + 1]
    stacked = draw(st.booleans())
    modular = draw(st.booleans())
    every = st.sampled_from(refs)
    first = draw(st.integers(0, 8))
    layers = (first, first + draw(st.integers(1, 8))) if stacked else None
    sources = tuple(Source(model, layers, draw(given_parameters(method, ("parent", "non_base")))) for model in models)
    slices = st.builds(Slice, st.just(sources), st.sampled_from([None, base]), given_parameters(method, ("tensor",)))
    whole, pieces = (() if stacked else sources), ((draw(slices),) if stacked else ())
    parts = draw(st.lists(WORD, min_size=1, max_size=2, unique=True)) if modular else []
    outer = draw(given_parameters(method, ("tensor",)))
    return Recipe(
        method.name,
        base_model=base,
        models=() if modular else whole,
        slices=() if modular else pieces,
        modules=MappingProxyType({part: Module(whole, pieces, outer) for part in parts}),
        parameters=draw(given_parameters(method, ("tensor",))),
        dtype=draw(st.sampled_from([None, "bfloat16", "float32"])),
        out_dtype=draw(st.sampled_from([None, "float16"])),
        tokenizer=draw(st.none() | tokenizers(every)),
        chat_template=draw(st.sampled_from([None, "auto", "{% for m in messages %}\n  {{ m }}\n{% endfor %}"])),
        head_curve=draw(st.sampled_from([None, "first", "last"])),
        seed=draw(st.none() | st.integers(0, 2**40)),
        name=draw(st.none() | TEXT),
    )


def tokenizers(models: st.SearchStrategy[ModelRef]) -> st.SearchStrategy[TokenizerSpec]:
    source = st.sampled_from(["union", "base"]) | models
    kinds = (
        st.just(TokenSource("zero"))
        | st.builds(TokenSource, st.just("model"), models)
        | st.builds(TokenSource, st.just("model_token"), models, TEXT)
        | st.builds(TokenSource, st.just("model_token"), models, st.none(), st.integers(0, 10**6))
    )
    tokens = st.dictionaries(TEXT, st.builds(TokenRule, st.none() | kinds, st.booleans()), max_size=3)
    older = st.builds(TokenizerSpec, source, legacy=st.just(True))
    return older | st.builds(TokenizerSpec, source, tokens.map(MappingProxyType), st.none() | st.integers(1, 1 << 16))


@st.composite
def documents(draw: st.DrawFn) -> Recipe:
    """A recipe with up to three stages, each document using the one before it, and maybe another."""
    names = draw(st.lists(WORD, min_size=1, max_size=3, unique=True))
    made: list[Recipe] = []
    for name in [*names, draw(st.none() | st.just("the-last"))]:
        recipe = draw(recipes())
        earlier = [ModelRef(one.name) for one in reversed(made) if one.name]
        used = earlier[: draw(st.integers(1, 2))]
        swap = dict(zip(recipe.own_parents(), used, strict=False))
        made.append(replace(map_references(recipe, lambda ref, swap=swap: swap.get(ref, ref)), name=name))
    return replace(made[-1], stages=tuple(made[:-1]))


@st.composite
def given_parameters(draw: st.DrawFn, method: Method, scopes: tuple[str, ...]) -> MappingProxyType[str, Setting]:
    chosen: dict[str, Setting] = {}
    for parameter in method.parameters:
        if parameter.scope in scopes and (parameter.required or draw(st.booleans())):
            chosen[parameter.name] = draw(parameter_settings(parameter))
    return MappingProxyType(chosen)


@settings(max_examples=100, deadline=None)
@given(recipes())
def test_reading_what_was_written(recipe: Recipe) -> None:
    reading = read_recipe(write_recipe(recipe))
    assert reading.recipe == recipe, reading.findings


@settings(max_examples=25, deadline=None)
@given(documents())
def test_reading_several_documents_that_were_written(recipe: Recipe) -> None:
    reading = read_recipe(write_recipe(recipe))
    assert reading.recipe == recipe, reading.findings
    assert recipe_hash(reading.recipe) == recipe_hash(recipe)
    assert recipe_hash(recipe) != recipe_hash(replace(recipe, stages=()))
    assert read_recipe(read_share_token(share_token(recipe))).recipe == recipe


@settings(max_examples=50, deadline=None)
@given(recipes())
def test_a_share_token_carries_the_recipe(recipe: Recipe) -> None:
    token = share_token(recipe)
    assert token.isascii()
    again = read_recipe(read_share_token(token)).recipe
    assert again == recipe
    assert recipe_hash(again) == recipe_hash(recipe)


def test_the_hash_follows_the_meaning_not_the_letters() -> None:
    one = read_recipe("merge_method: linear\nmodels:\n- model: a/b\n  parameters: {weight: 1}").recipe
    two = read_recipe("models: [{parameters: {weight: 1.0}, model: a/b}]\nmerge_method: linear").recipe
    other = read_recipe("models: [{parameters: {weight: 0.9}, model: a/b}]\nmerge_method: linear").recipe
    assert one and two and other
    assert recipe_hash(one) == recipe_hash(two) != recipe_hash(other)


@pytest.mark.parametrize("cut", [1, 5, -1, -9])
def test_a_damaged_share_token_is_refused(cut: int) -> None:
    recipe = read_recipe("merge_method: linear\nmodels:\n- model: a/b\n  parameters: {weight: 1}").recipe
    assert recipe
    with pytest.raises(Refused):
        read_share_token(share_token(recipe)[:cut])


def test_a_share_token_that_inflates_is_refused() -> None:
    import base64
    import zlib

    bomb = base64.urlsafe_b64encode(zlib.compress(b" " * 50_000_000, 9)).decode()
    with pytest.raises(Refused):
        read_share_token(bomb)
