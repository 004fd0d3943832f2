"""Names, texts and recipes that want to become markup: on every page they stay text."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from app.db import Sessions
from app.hub.client import ModelHit
from app.jobs.models import Job, JobEvent
from app.jobs.store import NewJob, Store
from app.library.facts import Found, Library
from app.planning.facts import FileFacts, ModelFacts, TensorFacts
from app.recipe.findings import Finding, Refused
from app.recipe.schema import ModelRef
from app.settings import Settings
from tests.web.artifacts import finished_job
from tests.web.pages.html import elements, executable

PAYLOADS = (
    "<script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</title><svg onload=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "<style>*{display:none}</style>",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "{{ 7*7 }}{% raw %}",
    "<hx-partial hx-target=body>x</hx-partial>",
    '" hx-get="/x" hx-trigger="load',
    "<!--",
    "]]>",
    "\x1b[31m\x00\x07",
    "\u202egnp.exe",
    "a\u2028b",
    "&lt;script&gt;",
    "</code></pre><iframe src=//x>",
    "<form action=//x>",
    "<base href=//x>",
    "x' onmouseover=alert(1) y='",
    "data:text/html,<script>alert(1)</script>",
)
HIDDEN = "\x00\x07\x1b\u202e\u2028"


def safe(page: str) -> None:
    """Nothing in the page runs, no form leaves it, no part is swapped on account of a payload, nothing unprintable."""
    seen = elements(page)
    assert executable(seen) == []
    assert not [form for form in seen if form.tag == "form" and not form.attributes.get("action", "/").startswith("/")]
    assert not [one for one in seen if one.tag == "img" or "autofocus" in one.attributes]
    assert not [
        one for one in seen if one.attributes.get("hx-target") == "body" or one.attributes.get("hx-get") == "/x"
    ]
    assert not [letter for letter in HIDDEN if letter in page]


def test_in_the_recipe_and_the_form(online: TestClient) -> None:
    for payload in PAYLOADS:
        quoted = payload.replace("\\", "").replace('"', "'").encode("unicode_escape").decode()
        recipes = (
            payload,
            f'name: "{quoted}"\nmerge_method: linear\nmodels: [{{model: a/b, parameters: {{weight: 1}}}}]',
            f'merge_method: "{quoted}"',
            f'merge_method: linear\nmodels: [{{model: "{quoted}"}}]\n"{quoted}": 1',
        )
        for recipe in recipes:
            safe(online.post("/build", data={"action": "import", "recipe": recipe}).text)
            safe(online.post("/jobs", data={"recipe": recipe}).text)
            safe(online.post("/build", data={"recipe": recipe}, headers={"HX-Request-Type": "partial"}).text)
        fields = {"recipe": "merge_method: linear\n", "name": payload, "seed": payload, "add": payload, "key": payload}
        fields |= {
            "action": "add",
            "method": payload,
            "dtype": payload,
            "parent.0": payload,
            "shared.normalize": payload,
        }
        safe(online.post("/build", data=fields).text)
        safe(online.post("/build", data=fields | {"action": payload}).text)


def test_in_addresses(online: TestClient) -> None:
    for payload in PAYLOADS:
        for place, name in (
            ("/models", "q"),
            ("/models/suggest", "q"),
            ("/models/view", "ref"),
            ("/", "preset"),
            ("/", "job"),
        ):
            safe(online.get(place, params={name: payload}).text)
        safe(online.get("/jobs", params={"state": payload[:20]}).text)
        safe(online.get(f"/jobs/{quote(payload, safe='')}").text)


class HostileHub:
    """Says the same thing about everything."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.remark = Finding("warning", "x", text, text, text)

    def search(self, *_: object) -> Found:
        text = self.text
        return Found((ModelHit(text, 1, 1, 1, text, text, True, True, text),), (self.remark,))

    def facts(self, ref: ModelRef, _token: str | None = None) -> ModelFacts:
        text = self.text
        tensor = TensorFacts(f"model.layers.0.{text}", text, (2, 2), text, 0, 8)
        config = {"model_type": text, "architectures": [text]}
        return ModelFacts(str(ref), config, {tensor.name: tensor}, (FileFacts(text, 1),), text, {}, text, (text,))

    def refuse(self, *_: object) -> ModelFacts:
        raise Refused(self.remark)


def test_in_what_the_hub_says(online: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = "merge_method: linear\nmodels: [{model: a/b, parameters: {weight: 1}}]"
    for payload in PAYLOADS:
        hub = HostileHub(payload)
        monkeypatch.setattr(Library, "search", lambda _, *rest, hub=hub: hub.search(*rest))
        safe(online.get("/models", params={"q": "x"}).text)
        safe(online.get("/models/suggest", params={"q": "x"}).text)
        for told in (hub.facts, hub.refuse):
            monkeypatch.setattr(Library, "facts", lambda _, *rest, told=told: told(*rest))
            safe(online.get("/models/view", params={"ref": "a/b"}).text)
            safe(online.post("/build/check", data={"recipe": recipe}).text)
        safe(online.post("/jobs", data={"recipe": recipe}).text)


def test_in_a_job(online: TestClient, store: Store, database: Sessions, settings: Settings) -> None:
    for payload in PAYLOADS:
        done = finished_job(database, settings, {"model.safetensors": b"x"})
        failed = store.submit(NewJob("merge", recipe=payload, title=payload, parents=[payload]))[0]
        found = {"level": payload, "code": payload, "where": payload, "text": payload, "fix": payload}
        with database.begin() as session:
            session.execute(update(Job).where(Job.id == done.id).values(title=payload, recipe=payload, pinned=payload))
            session.execute(
                update(Job).where(Job.id == failed.id).values(state="failed", error=[found], worker=payload)
            )
            for job in (done, failed):
                line = {"job_id": job.id, "at": 1.0, "kind": "log", "text": payload, "data": {}}
                session.execute(insert(JobEvent).values(**line))
        for job in (done, failed):
            safe(online.get(f"/jobs/{job.id}").text)
            safe(online.get(f"/jobs/{job.id}/outcome").text)
        safe(online.get("/jobs").text)
