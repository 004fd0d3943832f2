"""Bodies nobody foresaw: whatever comes in, the answer is findings, never a crash (T16)."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.main import create_app
from app.recipe.catalogue import METHODS
from app.settings import Settings
from tests.web.conftest import NOBODY, browser


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Without a Hub and without Redis; one for all bodies."""
    with browser(create_app(Settings(data=tmp_path_factory.mktemp("fuzz"), hub_endpoint=NOBODY))) as client:
        yield client


KEYS = ("models", "slices", "base_model", "parameters", "dtype", "tokenizer", "chat_template", "modules", "seed")
WORDS = st.sampled_from(
    [*KEYS, *METHODS, "merge_method", "model", "sources", "layer_range", "weight", "density", "t", "value", "filter",
     "out_dtype", "tokenizer_source", "source", "tokens", "name", "local:shelf/one", "union", "base", "bfloat16", "*",
     "..", "self_attn", "~", "0", "1e9", ".nan", "!!int"]
)  # fmt: skip
SCALARS = st.one_of(WORDS, st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)
RECIPES = st.fixed_dictionaries(
    {"merge_method": st.sampled_from(sorted(METHODS)) | SCALARS}, optional=dict.fromkeys(KEYS, TREES)
)
MANY = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answered(client: TestClient, text: str | bytes) -> None:
    answer = client.post("/api/recipes/check", content=text)
    assert answer.status_code in (200, 422), answer.text
    findings = answer.json()["findings"]
    assert any(finding["level"] == "error" for finding in findings) or answer.json()["estimate"]


@MANY
@given(st.binary(max_size=400) | st.text(max_size=400))
def test_any_bytes(client: TestClient, text: str | bytes) -> None:
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    answered(client, text)


@MANY
@given(st.text(st.sampled_from("ab:- \n\t[]{},&*!|>'\"%@`#?~<=0.\\"), max_size=200))
def test_any_yaml_signs(client: TestClient, text: str) -> None:
    answered(client, text)


@MANY
@given(RECIPES | TREES)
def test_any_tree_of_known_words(client: TestClient, tree: object) -> None:
    answered(client, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@MANY
@given(st.binary(max_size=300) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_any_body_of_a_job(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["findings"]


@MANY
@given(
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "TRACE", "X"]),
    st.text(max_size=60),
    st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3),
)
def test_any_address(client: TestClient, method: str, path: str, query: dict[str, str]) -> None:
    raw = path.encode("utf-8", "surrogatepass")
    answer = client.request(method, "/api/" + urllib.parse.quote(raw, safe=""), params=query)
    assert answer.status_code < 500
