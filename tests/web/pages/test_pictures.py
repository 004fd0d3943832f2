"""The charts: what they draw is what they are given."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict

import pytest

from app.recipe.schema import ModelRef, Recipe, Slice, Source
from app.web.pages.pictures import curves, loom, sparkline, stack
from app.web.pages.pictures.threads import COLOURS, thread

BOX = re.compile(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-([\d.]+)z")


def boxes(path: str) -> list[tuple[float, ...]]:
    found = [tuple(map(float, match)) for match in BOX.findall(path)]
    assert len(found) == path.count("M")
    return found


def rows(layers: int = 4) -> list[loom.Row]:
    cells = {"q": (0.0, 0.25, 0.75), "up": (0.5, 0.5, 0.0)}
    return [
        loom.Row("head", None, {"head": (0.2, 0.3, 0.5)}),
        *(loom.Row(str(layer), layer, cells) for layer in reversed(range(layers))),
        loom.Row("embed", None, {"embed": (1.0, 0.0, 0.0)}),
    ]


def test_threads_are_as_wide_as_their_shares() -> None:
    picture = loom.draw(rows(), ["", "A", "B"])
    widths: dict[str, float] = defaultdict(float)
    for one in picture.threads:
        for x, y, width, _, back in boxes(one.path):
            assert width == back
            if y in {picture.top + layer * picture.pitch for layer in range(4)}:
                widths[f"{one.colour} {'q' if x < picture.columns[1].x else 'up'}"] += width / 4
    column = picture.columns[0].width
    assert widths == pytest.approx(
        {"t-A q": 0.25 * column, "t-B q": 0.75 * column, "t-base up": 0.5 * column, "t-A up": 0.5 * column}, abs=1
    )


def test_the_last_layer_is_on_top_and_nothing_leaves_the_drawing() -> None:
    picture = loom.draw(rows(), ["", "A", "B"])
    assert picture.spots == tuple(sorted(picture.spots, reverse=True))
    assert [tick.label for tick in picture.ticks] == ["head", "3", "2", "1", "0", "embed"]
    for one in picture.threads:
        for x, y, width, height, _ in boxes(one.path):
            assert x >= 0
            assert x + width <= loom.UNITS + 1
            assert y + height <= picture.height


def test_what_the_parents_add_begins_at_the_left_edge_of_a_cell() -> None:
    starts: dict[str, list[float]] = defaultdict(list)
    picture = loom.draw([loom.Row("0", 0, {"q": (0.5, 0.2, 0.3), "up": (0.1, 0.9, 0.0)})], ["", "A", "B"])
    for one in picture.threads:
        starts[one.colour] += [x for x, *_ in boxes(one.path)]
    q, up = picture.columns
    assert sorted(starts["t-A"]) == pytest.approx([q.x, up.x], abs=1)
    assert starts["t-B"] == pytest.approx([q.x + 0.2 * q.width], abs=1)
    assert sorted(starts["t-base"]) == pytest.approx([q.x + 0.5 * q.width, up.x + 0.9 * up.width], abs=1)


def test_the_base_stays_pale_and_the_strongest_parent_is_strong() -> None:
    strengths = {(one.colour, one.strength) for one in loom.draw(rows(), ["", "A", "B"]).threads}
    assert {strength for colour, strength in strengths if colour == "t-base"} == {"s1"}
    assert ("t-B", "s5") in strengths


@pytest.mark.parametrize("layers", [1, 2, 30, 126, 1000])
def test_looms_of_any_depth_stay_legible_and_small(layers: int) -> None:
    picture = loom.draw(rows(layers), ["", "A", "B"])
    assert picture.layers == layers
    labels = [tick.label for tick in picture.ticks]
    assert {"head", str(layers - 1), "0", "embed"} <= set(labels)
    assert len(labels) <= 14
    assert picture.pitch >= 5
    assert sum(len(one.path) for one in picture.threads) < 40 * 5 * layers + 200


@pytest.mark.parametrize("layers", [16, 30, 32, 48, 80, 126])
def test_labels_at_the_left_do_not_overlap(layers: int) -> None:
    wide = [loom.Row(label, None, {label: (0.2, 0.3, 0.5)}) for label in ("head", "norm")]
    places = [tick.y for tick in loom.draw([*wide, *rows(layers)], ["", "A", "B"]).ticks]
    assert min(below - above for above, below in itertools.pairwise(places)) >= 10


def test_a_cover_hides_exactly_its_cells() -> None:
    picture = loom.draw(rows(), ["", "A", "B"])
    covered = boxes(picture.cover([("0", "q"), ("3", "up"), ("9", "nowhere")]))
    assert len(covered) == 2
    assert covered[0][1] == picture.top + 3 * picture.pitch
    assert covered[1][0] == pytest.approx(picture.columns[1].x, abs=1)


def test_the_table_says_the_same_in_words() -> None:
    table = {row.label: row for row in loom.draw(rows(), ["", "A", "B"]).table}
    assert table["0"].cells == ("A 25, B 75 %", "base 50, A 50 %")
    assert table["head"].cells == ("base 20, A 30, B 50 %",)
    assert table["head"].wide


def test_unknown_modules_get_columns_too() -> None:
    picture = loom.draw([loom.Row("0", 0, {"conv": (1.0,), "q": (1.0,), "norm": (1.0,)})], ["A"])
    assert [column.name for column in picture.columns] == ["q", "conv", "norm"]
    assert loom.draw([], []).columns == ()


def points(path: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split())) for pair in path[1:].split("L")]  # type: ignore[misc]


def test_heads_of_columns_keep_to_their_place() -> None:
    """Names of language models stay whole; longer ones of other models are cut."""
    short = ("q", "k", "v", "o", "gate", "up", "down", "router", "norm")
    rows = [loom.Row("0", 0, dict.fromkeys(short, (1.0,)))]
    assert [one.label for one in loom.draw(rows, "A").columns] == list(short)
    many = (*short, "conv1", "proj_in", "time_emb_proj")
    drawn = loom.draw([loom.Row("0", 0, dict.fromkeys(many, (1.0,)))], "A")
    labels = {one.name: one.label for one in drawn.columns}
    assert (labels["conv1"], labels["proj_in"], labels["time_emb_proj"]) == ("conv1", "proj…", "time…")


def test_curves_pass_through_their_values() -> None:
    picture = curves.draw("weight", [curves.Line("A", (0.0, 0.5, 0.25, 1.0))], (90.0, 60.0, 30.0, 0.0), 100)
    assert picture is not None
    assert points(picture.strokes[0].path) == [(0.0, 90.0), (500.0, 60.0), (250.0, 30.0), (1000.0, 0.0)]
    assert [(mark.label, mark.x) for mark in picture.marks] == [("0", 0.0), ("0.5", 50.0), ("1", 100.0)]


@pytest.mark.parametrize("values", [(-0.5, 1.5), (3.0, 40.0), (0.0001, 0.0004), (0.3, 0.3)])
def test_any_values_fit_between_round_marks(values: tuple[float, float]) -> None:
    picture = curves.draw("t", [curves.Line("", values)], (10.0, 0.0), 10)
    assert picture is not None
    assert 2 <= len(picture.marks) <= 6
    for x, _ in points(picture.strokes[0].path):
        assert 0 <= x <= curves.UNITS


def test_lines_of_another_length_are_left_out() -> None:
    assert curves.draw("t", [curves.Line("", (1.0,))], (10.0, 0.0), 10) is None


def test_a_sparkline_reaches_its_highest_value() -> None:
    picture = sparkline.draw([1.0, 4.0, 2.0, 3.0])
    assert picture is not None
    assert picture.highest == 4.0
    heights = [y for _, y in points(picture.line)]
    assert min(heights) == heights[1]
    assert sparkline.draw([1.0, 2.0]) is None
    assert len(points((sparkline.draw([1.0] * 5000) or picture).line)) <= 120


def test_a_stack_is_drawn_from_the_ground_up() -> None:
    one, two = ModelRef("o/one"), ModelRef("o/two")
    recipe = Recipe("passthrough", slices=(Slice((Source(one, (0, 20)),)), Slice((Source(two, (10, 20)),))))
    upper, lower = stack.draw(recipe, {one: "A", two: "B"})
    assert (upper.label, lower.label) == ("B 10–19", "A 0–19")
    assert upper.y < lower.y
    assert lower.height == pytest.approx(2 * upper.height, abs=0.2)


def test_every_letter_has_a_colour_and_the_base_its_own() -> None:
    assert thread("") == "t-base"
    assert thread("A") == "t-A"
    assert thread("I") == "t-A"
    assert thread("?") == "t-base"
    assert len({thread(letter) for letter in COLOURS}) == 8
