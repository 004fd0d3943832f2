"""The Stack view over HTTP: what its buttons and fields answer, with a script and without."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.recipe.catalogue import METHODS
from app.recipe.reading import read_recipe
from tests.web.pages.html import elements, form_of, one
from tests.web.pages.test_build import LIVE, press, targets

STACK = """
merge_method: passthrough
slices:
- sources: [{model: loom/code, layer_range: [0, 3]}]
- sources: [{model: loom/prose, layer_range: [1, 4], parameters: {scale: [{filter: mlp, value: [0, 1]}, {value: 0.5}]}}]
tokenizer: {source: union}
"""
PLAIN = """
merge_method: linear
models:
- {model: loom/code, parameters: {weight: [0, 1]}}
- {model: loom/prose, parameters: {weight: 1}}
"""


def blocks(page: str) -> list[str]:
    """The blocks in words, from the lowest."""
    return [item.attributes["aria-label"] for item in reversed(elements(page, "li", **{"class": "block"}))]


def ranges(page: str) -> list[tuple[str, int, int]]:
    recipe = read_recipe(form_of(page, "build")["recipe"]).draft
    assert recipe is not None
    return [(one.model.name, *one.layers) for piece in recipe.slices for one in piece.sources if one.layers]


def opened(client: TestClient, text: str) -> str:
    answer = client.post("/build", data={"recipe": text})
    assert answer.status_code == 200
    return answer.text


def test_a_stack_opens_with_its_blocks_and_what_they_cost(online: TestClient) -> None:
    page = opened(online, STACK)
    assert blocks(page) == ["Block 1 of 2: A, layers 0–2", "Block 2 of 2: B, layers 1–3"]
    assert one(page, "button", id="tab-stack").attributes["aria-selected"] == "true"
    facts = " ".join(one(page, "div", id="stack-facts").text.split())
    assert facts.startswith("6 layers · ") and facts.endswith("parameters")
    assert "layers 1–2 twice: from A, then from B" in page
    fields = form_of(page, "build")
    assert (fields["layers|loom/code"], fields["slice.1.0.last"], fields["slice.1.0.scale|mlp"]) == ("4", "3", "0, 1")


def test_buttons_and_fields_without_a_script(online: TestClient) -> None:
    page = press(online, opened(online, STACK), action="stack:up:0")
    assert ranges(page) == [("loom/prose", 1, 4), ("loom/code", 0, 3)]
    assert blocks(page)[0] == "Block 1 of 2: B, layers 1–3", "letters stay with their models"
    page = press(online, page, **{"slice.1.0.last": "3", "slice.0.0.scale": "0.25", "action": "apply"})
    assert ranges(page)[1] == ("loom/code", 0, 4)
    text = form_of(page, "build")["recipe"]
    assert "tokenizer" in text and "filter: mlp" in text and "value: 0.25" in text
    page = press(online, page, action="stack:add:0")
    assert ranges(page)[2] == ("loom/prose", 0, 4)


def test_values_for_some_modules_without_a_script(online: TestClient) -> None:
    page = opened(online, STACK)
    offered = {option.attributes["value"] for option in elements(one_list(page), "option")}
    assert {"self_attn", "mlp", "o_proj", "down_proj"} <= offered, "as the tensors are called"
    page = press(online, page, **{"rule.slice.0.0.name": "o_proj", "rule.slice.0.0.value": "0", "action": "apply"})
    page = press(online, page, **{"rule.slice.1.0.name": "norm", "action": "rule:add:slice.1.0"})
    fields = form_of(page, "build")
    assert (fields["slice.0.0.scale|o_proj"], fields["slice.1.0.scale|norm"]) == ("0", "0.5")
    page = press(online, page, action="rule:down:slice.1.0.scale|norm")
    names = [name for name in form_of(page, "build") if name.startswith("slice.1.0.scale|")]
    assert names == ["slice.1.0.scale|mlp", "slice.1.0.scale|norm"]
    page = press(online, page, action="rule:drop:slice.1.0.scale|mlp")
    text = form_of(page, "build")["recipe"]
    assert "filter: mlp" not in text and "filter: norm" in text and "tokenizer" in text
    refused = press(online, page, **{"rule.slice.0.0.name": "o_proj", "action": "rule:add:slice.0.0"})
    assert "There is a value for &#34;o_proj&#34; already." in refused
    assert form_of(refused, "build")["recipe"] == text


def one_list(page: str) -> str:
    """The names offered where a filter is typed."""
    return page[page.index('<datalist id="name-parts">') : page.index("</datalist>")]


def test_the_names_offered_follow_the_models(online: TestClient) -> None:
    page = form_of(opened(online, STACK), "build")
    answer = online.post("/build/check", data=page, headers=LIVE).text
    assert "#name-parts" in targets(answer)
    assert 'value="o_proj"' in answer


def test_nobody_looks_at_a_model_to_edit_a_stack(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("an edit must not wait for the Hub")

    monkeypatch.setattr("app.library.facts.Library.facts", never)
    known = {"layers|loom/code": "4", "layers|loom/prose": "4"}
    answer = client.post("/build", data={"recipe": STACK, "action": "stack:add:0", **known}, headers=LIVE)
    assert targets(answer.text)["#stack"] == "innerHTML"
    assert "Block added on top. 10 layers." in answer.text
    assert 'name="layers|loom/prose" value="4"' in answer.text
    typed = client.post("/build", data={"recipe": STACK, "slice.0.0.last": "1"}, headers=LIVE)
    assert targets(typed.text)["#stack"] == "innerMorph"


@pytest.mark.parametrize("layers", ["", "0", "-3", "x", "9" * 9000])
def test_what_is_not_known_yet_is_told_and_nothing_is_lost(client: TestClient, layers: str) -> None:
    data = {"recipe": STACK, "action": "stack:pattern:double", "stack.of": "0", "layers|loom/code": layers}
    answer = client.post("/build", data=data, headers=LIVE)
    assert answer.status_code == 200
    assert "is not known yet" in answer.text
    assert one(answer.text, "textarea", name="recipe").text.strip() == STACK.strip()


def test_layers_that_a_model_does_not_have_are_told_at_their_block(online: TestClient) -> None:
    page = press(online, opened(online, STACK), **{"slice.0.0.last": "9", "action": "apply"})
    assert "A goes up to layer 3" in one(page, "div", id="stack").text
    assert "goes beyond" in one(page, "div", id="findings").text


def test_a_plain_blend_becomes_a_stack_and_comes_back(online: TestClient) -> None:
    page = opened(online, PLAIN)
    before = read_recipe(PLAIN).recipe
    page = press(online, page, action="stack:make")
    assert blocks(page) == ["Block 1 of 1: A + B, layers 0–3"]
    page = press(online, page, action="stack:unmake")
    assert read_recipe(form_of(page, "build")["recipe"]).recipe == before


def test_a_pattern_of_two_models(online: TestClient) -> None:
    page = press(
        online, opened(online, PLAIN), action="stack:pattern:interleave", **{"stack.of": "1", "stack.with": "0"}
    )
    assert ranges(page) == [("loom/prose", 0, 2), ("loom/code", 1, 3), ("loom/prose", 2, 4)]
    assert "Problem" not in one(page, "div", id="findings").text


@pytest.mark.parametrize("method", METHODS)
def test_a_stack_under_every_method(online: TestClient, method: str) -> None:
    """Whatever the method lacks now: the page comes, and a base can be named and blocks be blended."""
    page = press(online, opened(online, STACK), method=method, action="apply")
    assert len(blocks(page)) == 2
    if METHODS[method].base == "required":
        page = press(online, page, action="base:0")
        assert "base_model: loom/code" in form_of(page, "build")["recipe"]
    page = press(online, page, action="stack:blend:1:0")
    assert len(blocks(page)) == 2
    cards = one(page, "div", id="parents").text
    assert ("Make it the base" in cards) == (METHODS[method].base != "ignored")


def test_what_the_stack_cannot_show_stays_as_it_is(client: TestClient) -> None:
    many = "".join(f"- sources: [{{model: loom/code, layer_range: [{layer}, {layer + 1}]}}]\n" for layer in range(200))
    page = client.post("/build", data={"recipe": f"merge_method: passthrough\nslices:\n{many}"}, headers=LIVE).text
    assert not blocks(page)
    assert "A stack of 200 layers" in page
    deep = "merge_method: passthrough\nslices: [{sources: [{model: loom/code, layer_range: [0, 999999999]}]}]\n"
    page = client.post("/build", data={"recipe": deep}, headers=LIVE).text
    (picture,) = elements(page, "svg", **{"class": "chart bars"})
    assert float(picture.attributes["height"]) <= 640
