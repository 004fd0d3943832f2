"""The style guide shows every component in every state."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from app.settings import ROOT
from tests.web.pages.html import elements

TEMPLATES = ROOT / "templates"
MACRO = re.compile(r"{%-? macro (\w+)\(.*?{%-? endmacro", re.DOTALL)
ELSEWHERE = {"icon"}
"""In nearly every macro."""


def called(text: str) -> set[str]:
    """What a template calls, by the names it was given in macros/."""
    renamed = dict(re.findall(r"(\w+) as (\w+)", text))
    there = set(re.findall(r"\b(\w+)\(", text))
    return {name for name in {*there, *renamed} if renamed.get(name, name) in there}


def test_every_macro_is_shown(client: TestClient) -> None:
    macros = {
        found[1]: found[0]
        for path in (TEMPLATES / "macros").glob("*.html")
        for found in MACRO.finditer(path.read_text())
    }
    shown, ahead = set[str](), called((TEMPLATES / "pages/styleguide.html").read_text())
    while ahead:
        name = ahead.pop()
        if name in macros and name not in shown:
            shown.add(name)
            ahead |= called(macros[name])
    assert len(macros) > 20
    assert set(macros) - shown - ELSEWHERE == set()


@pytest.mark.parametrize(
    "state",
    [
        "picked", "outline", "nothing", "finding error", "finding fine", "stage ahead", "live", "pill bad", "danger",
        "unwoven", "joint jump", "drop-here", "selection", "option-card", "options-note", "suggestion", "h9", "d8",
    ],
)  # fmt: skip
def test_states_that_are_rare_elsewhere_are_there(client: TestClient, state: str) -> None:
    wanted = set(state.split())
    page = client.get("/styleguide").text
    assert any(wanted <= set(one.attributes.get("class", "").split()) for one in elements(page))


def test_controls_that_cannot_be_used_are_shown_so(client: TestClient) -> None:
    page = client.get("/styleguide").text
    for attribute in ("disabled", "aria-invalid", "aria-pressed", "popover", "checked"):
        assert any(attribute in one.attributes for one in elements(page)), attribute
