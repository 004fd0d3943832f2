"""The pages one reads: methods, limits, and the three questions, with a recipe in hand and without."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.recipe.catalogue import METHODS
from app.recipe.guide import QUESTIONS
from app.recipe.limits import limits
from app.recipe.reading import read_recipe
from tests.web.pages.html import elements, form_of, one

LIVE = {"HX-Request": "true", "HX-Request-Type": "partial"}
LINEAR = """# kept as it is
merge_method: linear
models:
  - {model: loom/code, parameters: {weight: 0.25}}
  - {model: loom/prose, parameters: {weight: [0.5, 1]}}
"""


def test_every_method_is_on_the_page_with_its_picture(client: TestClient) -> None:
    page = client.get("/methods").text
    for method in METHODS.values():
        article = one(page, "article", id=method.name)
        for text in (method.title, method.sentence, method.when, method.formula):
            assert text in article.text
        for parameter in method.parameters:
            assert parameter.sentence in article.text
        assert elements(page, "a", href=f"/?method={method.name}")
    assert len(elements(page, "svg", role="img")) == len(METHODS)


def test_limits_are_told_and_found_from_every_page(client: TestClient) -> None:
    page = client.get("/limits").text
    for limit in limits():
        section = one(page, "section", id=limit.anchor)
        assert all(paragraph in section.text for paragraph in limit.paragraphs)
    for address in ("/", "/recipes", "/methods", "/guide"):
        assert elements(client.get(address).text, "a", href="/limits")


def test_the_builder_opens_with_a_method(client: TestClient) -> None:
    page = client.get("/?method=ties").text
    assert elements(page, "option", value="ties", selected="")
    assert form_of(page, "build")["method"] == "ties"
    assert form_of(client.get("/?method=nosuch").text, "build")["method"] == "linear"


def test_questions_are_answered_without_a_script(client: TestClient) -> None:
    empty = client.get("/guide").text
    asked = {element.attributes["name"] for element in elements(empty, "input", type="radio")}
    assert asked == {question.name for question in QUESTIONS}
    assert "appears here" in one(empty, "div", id="answer").text
    page = client.get("/guide?have=more&base=shared&want=combine").text
    assert {element.attributes["value"] for element in elements(page, "input", type="radio", checked="")} == {
        "more", "shared", "combine",
    }  # fmt: skip
    assert "TIES" in one(page, "div", id="answer").text
    assert elements(page, "a", href="/?method=ties")
    assert elements(page, "a", href="/?preset=chat-and-code")


def test_a_script_gets_the_answer_alone(client: TestClient) -> None:
    answer = client.get("/guide?have=two&base=none&want=blend", headers=LIVE).text
    assert "<!doctype" not in answer
    assert "no method to advise" in answer
    assert elements(answer, "a", href="/limits")


def test_a_recipe_goes_through_the_guide_and_keeps_its_values(client: TestClient) -> None:
    built = client.post("/build", data={"recipe": LINEAR, "action": "import"}).text
    assert one(built, "button", formaction="/guide")
    fields = {name: value for name, value in form_of(built, "build").items() if name != "action"}
    guide = client.post("/guide", data=fields).text
    assert [element.attributes["value"] for element in elements(guide, "input", type="radio", checked="")] == ["two"]
    answers = form_of(guide, "questions") | {"have": "two", "base": "shared", "want": "combine"}
    answered = client.post("/guide", data=answers).text
    used = next(form for form in _forms(answered) if form.get("method") == "task_arithmetic")
    page = client.post("/build", data=used | {"action": "apply"}).text
    recipe = read_recipe(form_of(page, "build")["recipe"]).draft
    assert recipe is not None
    assert recipe.merge_method == "task_arithmetic"
    assert [str(source.model) for source in recipe.models] == ["loom/code", "loom/prose"]
    assert recipe.models[1].parameters["weight"][0].value == (0.5, 1)


def test_one_can_go_back_with_the_recipe_unchanged(client: TestClient) -> None:
    guide = client.post("/guide", data={"recipe": LINEAR}).text
    back = _forms(guide)[-1]
    page = client.post("/build", data=back | {"action": "import"}).text
    assert form_of(page, "build")["recipe"].strip() == LINEAR.strip()


@pytest.mark.parametrize("recipe", ["", "nonsense: [", "merge_method: nosuch\n", "<script>alert(1)</script>"])
def test_any_recipe_can_be_brought(client: TestClient, recipe: str) -> None:
    for more in ({}, {"guided": "yes"}, {"have": "x" * 500, "guided": "yes"}):
        answer = client.post("/guide", data={"recipe": recipe, **more})
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text


def _forms(page: str) -> list[dict[str, str]]:
    """The fields of every form that goes back to the builder."""
    found: list[dict[str, str]] = []
    for text in page.split('<form method="post" action="/build">')[1:]:
        inside = text.split("</form>")[0]
        fields = {field.attributes["name"]: field.attributes["value"] for field in elements(inside, "input")}
        found.append(fields | {field.attributes["name"]: field.text for field in elements(inside, "textarea")})
    return found
