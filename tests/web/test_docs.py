"""The generated docs are what the catalogue says, and their links lead somewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

from app.recipe.catalogue import METHODS
from app.recipe.limits import limits, limits_page
from app.recipe.method_notes import method_notes
from app.recipe.methods_page import anchor, methods_page
from app.web.docs import FOLDER, files, write

MADE = files()


@pytest.mark.parametrize("place", sorted(MADE), ids=str)
def test_the_committed_file_is_what_the_generator_writes(place: Path) -> None:
    assert (FOLDER / place).read_text(encoding="utf-8") == MADE[place], "run python -m app.web.docs"


def test_there_is_no_picture_of_a_method_that_is_no_more() -> None:
    assert {path.stem for path in (FOLDER / "methods").iterdir()} == set(METHODS)


def test_writing_removes_what_is_stale(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/gone.svg").write_text("<svg/>")
    write(tmp_path)
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} == set(MADE)


def test_every_method_and_parameter_is_told_with_its_notes() -> None:
    assert set(method_notes()) == set(METHODS)
    sections = {section.split("\n")[0]: section for section in re.split(r"\n### ", methods_page())[1:]}
    assert set(sections) == {method.title for method in METHODS.values()}
    for method in METHODS.values():
        section, notes = sections[method.title], method_notes()[method.name]
        for text in (f"`{method.name}`", method.sentence, method.when, *notes.maths, notes.means, *notes.limits):
            assert text in section
        for parameter in method.parameters:
            assert f"| `{parameter.name}` |" in section
        if re.fullmatch(r"\d{4}\.\d{5}", method.paper):
            assert f"https://arxiv.org/abs/{method.paper}" in section


def test_links_and_pictures_lead_somewhere() -> None:
    page = methods_page()
    anchors = Counter(anchor(method) for method in METHODS.values())
    assert max(anchors.values()) == 1
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) == set(anchors)
    for place in re.findall(r"\]\((?!#|https://)([\w/.-]+)\)", page):
        assert Path(place) in MADE


@pytest.mark.parametrize("name", METHODS)
def test_formulas_close_what_they_open(name: str) -> None:
    for line in method_notes()[name].maths:
        plain = line.replace(r"\{", "").replace(r"\}", "")
        assert plain.count("{") == plain.count("}")
        assert line.count(r"\left") == line.count(r"\right")
        assert line.count(r"\begin") == line.count(r"\end")
        assert "\n" not in line


@pytest.mark.parametrize("name", METHODS)
def test_a_picture_stands_on_its_own(name: str) -> None:
    text = MADE[Path("methods", f"{name}.svg")]
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter())) > 8
    assert "var(--" not in text
    assert "this recipe" not in text


def test_the_limits_page_has_its_sections() -> None:
    assert len(limits()) >= 5
    for one in limits():
        assert f"\n## {one.title}\n" in limits_page()
        assert one.paragraphs and all(paragraph.endswith(".") for paragraph in one.paragraphs)
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", one.anchor)
