"""What is wrong with the shape of a request is told in our words: where, what, what to do; nothing sent is repeated."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from fastapi import FastAPI, Header, Query
from pydantic import BaseModel, Field
from starlette.testclient import TestClient

from app.settings import Settings
from tests.web.conftest import application
from tests.web.pages.html import elements

SECRET = "hf_CANARYCANARYCANARYCANARY"
FOREIGN = re.compile(r"Input should|Field required|String should|List should|valid (integer|dictionary)|Extra inputs")


class Item(BaseModel, extra="forbid"):
    number: int = 1
    share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.5
    word: Annotated[str, Field(min_length=2, max_length=4)] = "some"
    yes: bool = False
    kind: Literal["model", "adapter"] = "model"
    numbers: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    names: dict[str, str] = {}
    inner: Item | None = None


def _asking(app: FastAPI) -> None:
    def asks(
        q: Annotated[str, Query(max_length=5)],
        limit: Annotated[int, Query(ge=1, le=50)] = 1,
        x_key: Annotated[str, Header(max_length=3)] = "",
    ) -> str:
        return q

    def takes(item: Item) -> str:
        return item.word

    for prefix in ("/api/test", "/test"):
        app.add_api_route(f"{prefix}/asks", asks)
        app.add_api_route(f"{prefix}/takes", takes, methods=["POST"])


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return application("asking", settings, _asking)


ADDRESSES: dict[str, tuple[dict[str, str], str, str, str]] = {
    "missing": ({}, "address: q", '"q" is missing.', "Add q=… to the address."),
    "too long": ({"q": SECRET}, "address: q", '"q" is longer than 5 letters.', "Shorten it."),
    "no number": ({"q": "a", "limit": SECRET}, "address: limit", '"limit" is not a whole number.', "Write it like 16."),
    "too large": ({"q": "a", "limit": "51"}, "address: limit", '"limit" is more than 50.', "Write 50 or less."),
    "too small": ({"q": "a", "limit": "0"}, "address: limit", '"limit" is less than 1.', "Write 1 or more."),
    "endless": ({"q": "a", "limit": "9" * 5000}, "address: limit", '"limit" has too many digits.', "Shorten it."),
}  # fmt: skip


@pytest.mark.parametrize(("query", "where", "text", "fix"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address(client: TestClient, query: dict[str, str], where: str, text: str, fix: str) -> None:
    answer = client.get("/api/test/asks", params=query)
    assert answer.status_code == 422
    told = {"level": "error", "code": "bad-request", "where": where, "text": text, "fix": fix}
    assert answer.json() == {"findings": [told]}
    for headers in ({}, {"HX-Request-Type": "partial"}):
        page = client.get("/test/asks", params=query, headers=headers)
        assert page.status_code == 422
        shown = " ".join(one.text for one in elements(page.text, "li", **{"class": "finding error"}))
        assert text in shown and fix in shown and where in shown
        assert SECRET not in page.text


def test_a_header(client: TestClient) -> None:
    (told,) = client.get("/api/test/asks", params={"q": "a"}, headers={"X-Key": SECRET}).json()["findings"]
    assert (told["where"], told["text"]) == ("header: x-key", '"x-key" is longer than 3 letters.')


BODIES: dict[str, tuple[object, str, str]] = {
    "no object": ([], "body", "is not a JSON object"),
    "only text": (SECRET, "body", "is not a JSON object"),
    "no number": ({"number": SECRET}, "body: number", '"number" is not a whole number.'),
    "half a number": ({"number": 1.5}, "body: number", '"number" is not a whole number.'),
    "no share": ({"share": SECRET}, "body: share", '"share" is not a number.'),
    "all of it": ({"share": 1}, "body: share", '"share" is not less than 1'),
    "nothing of it": ({"share": 0}, "body: share", '"share" is not more than 0'),
    "no end": ({"share": "inf"}, "body: share", '"share" is not a finite number.'),
    "too long": ({"word": SECRET}, "body: word", '"word" is longer than 4 letters.'),
    "too short": ({"word": "a"}, "body: word", '"word" is shorter than 2 letters.'),
    "no text": ({"word": [SECRET]}, "body: word", '"word" is not text.'),
    "perhaps": ({"yes": SECRET}, "body: yes", '"yes" is neither true nor false.'),
    "another kind": ({"kind": SECRET}, "body: kind", "Write model or adapter."),
    "no list": ({"numbers": SECRET}, "body: numbers", '"numbers" is not a list.'),
    "too many": ({"numbers": [1, 2, 3]}, "body: numbers", '"numbers" has more than 2 entries.'),
    "too few": ({"numbers": []}, "body: numbers", '"numbers" has fewer than 1 entry.'),
    "one of a list": ({"numbers": [1, SECRET]}, "body: numbers[1]", '"numbers[1]" is not a whole number.'),
    "no mapping": ({"names": SECRET}, "body: names", '"names" is not an object.'),
    "farther down": ({"inner": {"number": []}}, "body: inner.number", '"inner.number" is not a whole number.'),
    "no inner": ({"inner": 5}, "body: inner", '"inner" is not an object.'),
    "misspelt": ({"numbr": SECRET}, "body: numbr", '"numbr" is not known here.'),
}


@pytest.mark.parametrize(("body", "where", "words"), BODIES.values(), ids=BODIES)
def test_a_body(client: TestClient, body: Any, where: str, words: str) -> None:
    answer = client.post("/api/test/takes", json=body)
    assert answer.status_code == 422
    (told,) = answer.json()["findings"]
    assert told["where"] == where
    assert words in f"{told['text']} {told['fix']}"
    assert told["fix"].endswith(".")
    assert SECRET not in answer.text and not FOREIGN.search(answer.text)
    page = client.post("/test/takes", json=body)
    assert SECRET not in page.text and not FOREIGN.search(page.text)


def test_a_body_that_is_no_json(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    (told,) = client.post("/api/test/takes", content=f'{{"word": {SECRET}}}', headers=headers).json()["findings"]
    assert (told["where"], told["text"]) == ("body, letter 9", "The body is not JSON.")
    (told,) = client.post("/api/test/takes").json()["findings"]
    assert (told["where"], told["text"]) == ("body", "A body is needed.")
    unreadable = client.post("/api/test/takes", content=b"\xff\xfe{", headers=headers)
    assert unreadable.status_code in (400, 422)
    assert unreadable.json()["findings"][0]["fix"]


def test_many_errors_are_told_up_to_a_number(client: TestClient) -> None:
    found = client.post("/api/test/takes", json={f"k{number}": 1 for number in range(50)}).json()["findings"]
    assert len(found) == 20


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/api/models/search", '"q" is missing.'),
        ("/models?q=" + "x" * 201, '"q" is longer than 200 letters.'),
        ("/jobs?page=last", '"page" is not a whole number.'),
        ("/api/jobs?state=lost", "Write queued"),
        ("/compare/cost?" + "model=a&" * 21, '"model" has more than 20 entries.'),
        (f"/?draft={'d' * 33}", '"draft" is longer than 32 letters.'),
    ],
)
def test_addresses_that_there_are(client: TestClient, address: str, words: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 422
    assert words in answer.text.replace("&#34;", '"').replace('\\"', '"')
    assert not FOREIGN.search(answer.text)


@pytest.mark.parametrize("body", [{"recipe": "", "sede": 1}, {"recipe": "", "seed": -1}, {"recipe": 5}, {}])
def test_the_body_of_a_job(client: TestClient, body: dict[str, object]) -> None:
    answer = client.post("/api/jobs", json=body)
    assert answer.status_code == 422
    assert all(one["text"] and one["fix"] and one["where"].startswith("body: ") for one in answer.json()["findings"])
    assert not FOREIGN.search(answer.text)


def test_a_form_with_too_many_fields(client: TestClient) -> None:
    answer = client.post("/build", data={f"field{number}": "x" for number in range(2001)})
    assert answer.status_code == 400
    assert "cannot be read" in answer.text
    assert "Maximum number" not in answer.text
