"""What a method does, as a picture: arrows and bars are what the formula says, and follow the form."""

from __future__ import annotations

import re
from collections import defaultdict
from math import cos, hypot, pi, sin

import pytest

from app.recipe.catalogue import METHODS
from app.recipe.form import view
from app.recipe.reading import read_recipe
from app.web.pages.method_view import method_picture
from app.web.pages.pictures import entries, method, vectors
from app.web.pages.pictures.parents import Parent


def tip(arrow: vectors.Arrow, origin: tuple[float, float]) -> tuple[float, float]:
    """Where an arrow ends, seen from the origin, y upwards."""
    x, y = map(float, arrow.head[1:].split("L")[0].split())
    return x - origin[0], origin[1] - y


def drawn(name: str, *weights: float, **settings: float) -> tuple[vectors.VectorPicture, list[tuple[float, float]]]:
    parents = [Parent(letter, {"weight": weight}) for letter, weight in zip("ABCDEFGH", weights, strict=False)]
    picture = method.draw(name, parents, settings, base_letter="A")
    assert isinstance(picture, vectors.VectorPicture)
    return picture, [tip(one, picture.origin) for one in picture.arrows]


def test_linear_is_the_weighted_mean() -> None:
    picture, (a, b) = drawn("linear", 3.0, 1.0)
    expected = ((3 * a[0] + b[0]) / 4, (3 * a[1] + b[1]) / 4)
    assert tip(picture.merged, picture.origin) == pytest.approx(expected, abs=0.3)


def test_task_arithmetic_adds_and_lambda_scales() -> None:
    picture, (a, b) = drawn("task_arithmetic", 0.5, 0.25, **{"lambda": 0.8})
    expected = (0.8 * (0.5 * a[0] + 0.25 * b[0]), 0.8 * (0.5 * a[1] + 0.25 * b[1]))
    assert tip(picture.merged, picture.origin) == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_slerp_keeps_the_length_on_the_way(t: float) -> None:
    picture, (a, b) = drawn("slerp", 1.0, 1.0, t=t)
    merged = tip(picture.merged, picture.origin)
    theta = 60 * pi / 180
    expected = tuple((sin((1 - t) * theta) * p + sin(t * theta) * q) / sin(theta) for p, q in zip(a, b, strict=True))
    assert merged == pytest.approx(expected, abs=0.5)
    assert hypot(*merged) == pytest.approx(hypot(*a), abs=0.5)


def test_model_stock_stops_where_the_angle_says() -> None:
    picture, (a, b) = drawn("model_stock", 1.0, 1.0)
    cosine = (a[0] * b[0] + a[1] * b[1]) / (hypot(*a) * hypot(*b))
    t = 2 * cosine / (1 + cosine)
    expected = (t * (a[0] + b[0]) / 2, t * (a[1] + b[1]) / 2)
    assert tip(picture.merged, picture.origin) == pytest.approx(expected, abs=0.4)


def bars(path: str) -> dict[float, float]:
    """Place -> height, upwards, of every bar of a path."""
    found = re.findall(r"M([\d.]+) [\d.]+v(-?[\d.]+)h[\d.]+v-?[\d.]+z", path.replace("h-", "h"))
    assert len(found) == path.count("M")
    return {float(x): -float(height) for x, height in found}


def entry_picture(name: str, density: float, count: int = 3, **settings: float) -> entries.EntryPicture:
    parents = [Parent("ABCDEFGHIJKLMNOP"[i], {"weight": 1.0, "density": density}) for i in range(count)]
    picture = method.draw(name, parents, settings, base_letter="A")
    assert isinstance(picture, entries.EntryPicture)
    return picture


@pytest.mark.parametrize("name", ["ties", "dare_ties", "breadcrumbs_ties", "breadcrumbs", "dare_linear", "ram"])
def test_a_column_of_solid_bars_adds_up(name: str) -> None:
    picture = entry_picture(name, 0.6, normalize=0.0)
    sums: dict[float, float] = defaultdict(float)
    for row in picture.rows:
        for x, height in bars(row.solid).items():
            sums[x] += height
    merged = bars(picture.merged)
    for x in sums | merged:
        assert merged.get(x, 0.0) == pytest.approx(sums.get(x, 0.0), abs=0.25)


def test_ties_drops_the_small_and_the_outvoted() -> None:
    picture = entry_picture("ties", 0.5)
    merged = bars(picture.merged)
    for row in picture.rows:
        solid, pale, lost = bars(row.solid), bars(row.pale), bars(row.outvoted)
        assert len(solid) + len(lost) == 8
        assert not solid.keys() & lost.keys()
        assert max(map(abs, pale.values())) <= min(map(abs, (*solid.values(), *lost.values())))
        assert all(height * merged[x] > 0 for x, height in solid.items())
        assert all(height * merged[x] < 0 for x, height in lost.items())
        assert f"Of {row.letter}'s 16 example changes {len(solid)} go in" in picture.told
    assert any(row.outvoted for row in picture.rows)
    assert "outvoted" in picture.key


def test_more_density_keeps_what_less_density_kept() -> None:
    for name in ("ties", "dare_ties", "della"):
        kept = [entry_picture(name, density).told for density in (0.3, 0.6, 1.0)]
        numbers = [sum(map(int, re.findall(r"changes (\d+) go in", told))) for told in kept]
        assert numbers == sorted(set(numbers)), name


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_picture_inside_its_frame(name: str) -> None:
    for count in (0, 1, 2, 3, 9, 16):
        parents = [
            Parent("ABCDEFGHIJKLMNOP"[index], {"weight": -0.4 + index, "density": 0.3}) for index in range(count)
        ]
        for settings in (
            {},
            {"t": 0.0},
            {"t": 1.0},
            {"t": 0.5, "normalize": 1.0, "lambda": 2.0},
            {"t": -1e300, "lambda": 1e300, "epsilon": 9.0},
        ):
            picture = method.draw(name, parents, settings, base_letter="A")
            assert (picture is None) == (name == "passthrough")
            if isinstance(picture, vectors.VectorPicture):
                for arrow in (*picture.arrows, picture.merged):
                    assert -1 <= arrow.x2 <= vectors.WIDTH + 1
                    assert -1 <= arrow.y2 <= vectors.HEIGHT + 1
                    assert 10 <= arrow.ly <= vectors.HEIGHT + 4
            elif picture:
                assert len(picture.rows) <= 5
                for height in (h for row in picture.rows for h in bars(row.solid + row.pale).values()):
                    assert abs(height) <= entries.ROW / 2


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"passthrough"}))
def test_the_picture_follows_the_sliders(name: str) -> None:
    """Every parameter that the form offers outright moves something, but for those that need more than one row."""
    about = METHODS[name]
    for one in about.parameters:
        if not one.used or one.advanced or one.name in _NEED_ROWS or name in _NO_EFFECT.get(one.name, ()):
            continue
        seen = set()
        for value in (0.0, 1.0) if one.kind == "boolean" else (one.low + 0.25 * (one.high - one.low), one.high):
            given = {"weight": 0.4, "density": 0.5, "r": 0.3, "alpha": 0.5} | {one.name: value}
            parents = [Parent("A", given), Parent("B", {"weight": 0.7, "density": 0.5}), Parent("C", {"density": 0.5})]
            if name == "transfer":  # the first one receives, whatever its weight
                parents.insert(0, Parent("D"))
            shared = {one.name: value} if one.scope == "tensor" else {}
            seen.add(str(method.draw(name, parents[: about.max_parents], shared, base_letter="C")))
        assert len(seen) == 2, one.name


_NEED_ROWS = ("nuslerp_flatten", "filter_wise")
_NO_EFFECT: dict[str, tuple[str, ...]] = {"epsilon": ("ram", "ramplus_tl")}


def test_the_form_s_numbers_reach_the_picture() -> None:
    text = """
merge_method: ties
base_model: o/base
models:
- {model: o/one, parameters: {weight: [0, 1], density: 0.25}}
- {model: o/two, parameters: {weight: 1, density: {filter: mlp, value: 0.5}}}
parameters: {lambda: 0.5, normalize: false}
"""
    recipe = read_recipe(text).recipe
    assert recipe is not None
    picture = method_picture(view(recipe))
    parents = [Parent("A", {"weight": 0.5, "density": 0.25}), Parent("B", {"weight": 1.0})]
    assert picture == method.draw("ties", parents, {"lambda": 0.5, "normalize": 0.0}, base_letter="")


def test_directions_of_the_examples_are_distinct() -> None:
    shown = [(cos(angle * pi / 180), sin(angle * pi / 180)) for angle in vectors._ANGLES]
    assert len(set(shown)) == len(shown)
