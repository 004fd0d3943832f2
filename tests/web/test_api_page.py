"""The API page: every operation of the schema, by itself, without anything from elsewhere."""

from __future__ import annotations

import html
import re

from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.web.test_security import missing_headers


def test_every_operation_is_on_the_page(app: FastAPI, client: TestClient) -> None:
    page = html.unescape(client.get("/api").text)
    schema = client.get("/openapi.json").json()
    count = 0
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            count += 1
            assert f'<span class="pill">{method.upper()}</span> <code>{path}</code>' in page
            assert told["description"].split("\n")[0].replace("``", "") in page
            for parameter in told.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in page
    assert count == page.count("<section")
    for address in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{address}"' in page
    anchors = re.findall(r'<section class="card" id="([^"]+)"', page)
    assert len(anchors) == len(set(anchors)) == count


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/api")
    assert answer.status_code == 200
    assert missing_headers(answer.headers) == {}
    for address in re.findall(r'(?:src|href)="([^"]*)"', answer.text):
        assert address.startswith(("/", "#")), address
        assert not address.startswith("//")


def test_the_usual_address_leads_there(client: TestClient) -> None:
    answer = client.get("/docs")
    assert (answer.status_code, answer.headers["location"]) == (307, "/api")
