"""``/adapters`` over HTTP, without a script, and the pages of its jobs."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.adapting.wanted import read_merge
from app.db import Sessions
from app.jobs.claim import Claim
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.settings import Settings
from tests.support.adapters import factors, write_adapter
from tests.support.hub import StandInHub
from tests.web.artifacts import finished_job, keep_files
from tests.web.pages.html import elements, form_of, one

ONE, TWO = "local:shelf/one-lora", "local:shelf/two-lora"
TWICE = f"/adapters?adapter={ONE}&weight=1&adapter={TWO}&weight=0.5"


@pytest.fixture(autouse=True)
def adapters(tmp_path: Path) -> None:
    for seed, name in enumerate(("one-lora", "two-lora")):
        tensors = factors("model.layers.0.self_attn.q_proj", 32, 32, 3, seed)
        write_adapter(tmp_path / "shelf" / name, tensors, r=3, base_model_name_or_path="loom/base")


def pairs(page: str) -> list[tuple[str, str]]:
    """What a browser without scripts would send of the form, in order."""
    fields = [one.attributes for one in elements(page, "input") if "adapters" in one.inside]
    said = [one for one in fields if one.get("type") != "radio" or "checked" in one]
    return [(one["name"], one["value"]) for one in said if one.get("name")]


def shown(page: str) -> list[tuple[str, str]]:
    return [pair for pair in pairs(page) if pair[0] in ("adapter", "weight")]


def press(client: TestClient, page: str, action: str, **fields: str) -> str:
    sent = [(name, fields.pop(name, value)) for name, value in pairs(page)]
    answer = client.get("/adapters", params=[*sent, *fields.items(), ("action", action)])
    assert answer.status_code == 303
    return client.get(answer.headers["location"]).text


def test_choosing_adapters_and_merging_them(online: TestClient, store: Store) -> None:
    page = online.get("/adapters").text
    assert not elements(page, "button", formaction="/adapters")
    for name in (ONE, "loom/base", TWO):
        page = press(online, page, "add", add=name)
    page = press(online, page, "remove:1")
    page = press(online, page, "add", method="ties", rank="4", density="0.3")
    assert shown(page) == [("adapter", ONE), ("weight", "1"), ("adapter", TWO), ("weight", "1")]
    assert one(page, "input", name="method", value="ties").attributes.keys() >= {"checked"}
    checked = online.get("/adapters", params=[*pairs(page), ("action", "check")]).text
    assert "All adapters say they were made for loom/base." in checked
    sent = [*pairs(page), ("action", "merge")]
    answers = [online.post("/adapters", data=as_form(sent)) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {303}
    assert answers[0].headers["location"] == answers[1].headers["location"], "two clicks, one job"
    job = store.get(answers[0].headers["location"].removeprefix("/jobs/"))
    assert job is not None
    assert (job.kind, job.title, job.parents) == ("merge-adapters", "one-lora and two-lora by ties", [ONE, TWO])
    assert (job.params["rank"], job.params["density"], job.params["normalize"]) == (4, 0.3, True)


def as_form(sent: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in sent:
        found.setdefault(name, []).append(value)
    return found


def test_the_address_is_the_form(online: TestClient) -> None:
    page = online.get(f"{TWICE}&method=dare_ties&rank=7&seed=5&normalize=no&dtype=float16").text
    assert shown(page) == [("adapter", ONE), ("weight", "1"), ("adapter", TWO), ("weight", "0.5")]
    told = online.get(f"{TWICE.replace('/adapters', '/adapters/check')}&method=dare_ties&rank=7&normalize=no").text
    link = one(told, "a").attributes["href"]
    assert online.get(link).status_code == 200
    assert "method=dare_ties&rank=7&normalize=no" in link
    assert "7" not in unescape(one(online.get(f"{TWICE}&method=cat").text, "input", id="rank").attributes["value"])
    plain = online.get(f"{TWICE}&action=add&method=svd&density=0.5", follow_redirects=False)
    assert "method" not in plain.headers["location"], "what is as usual is left out"


def test_what_is_wrong_comes_back_with_everything_in_place(online: TestClient, store: Store) -> None:
    for more, words in (
        ("add=not a model", "is not a model reference"), (f"add={ONE}", "is there already"), ("add=/etc", "is not a"),
    ):  # fmt: skip
        answer = online.get(f"{TWICE}&{more}&action=add")
        assert answer.status_code == 422
        assert words in unescape(answer.text)
        assert len(shown(answer.text)) == 4
    for field, value, words in (
        ("rank", "many", "is not a whole number"), ("weight", "heavy", "is not a number"), ("rank", "0", "rank is a"),
        ("method", "magic", "no way to merge"), ("adapter", "local:shelf/gone", "no folder gone"),
        ("adapter", "local:shelf/one", "not an adapter"), ("density", "7", "density lies"), ("dtype", "x", "no number"),
    ):  # fmt: skip
        sent = {"adapter": [ONE], "weight": ["1"], field: [value]}
        answer = online.post("/adapters", data=sent)
        assert answer.status_code == 422
        assert words in unescape(answer.text)
        assert words in unescape(online.get("/adapters/check", params=sent).text)
    assert store.list() == []


def test_a_field_that_the_method_does_not_look_at_is_passed_over(online: TestClient, store: Store) -> None:
    answer = online.post("/adapters", data={"adapter": [ONE, TWO], "method": "cat", "rank": "4"})
    job = store.get(answer.headers["location"].removeprefix("/jobs/"))
    assert job is not None
    assert job.params["rank"] is None


def test_a_broken_adapter_is_told_before_anything_runs(online: TestClient, store: Store, tmp_path: Path) -> None:
    (tmp_path / "shelf/two-lora/adapter_config.json").write_text('{"peft_type": "<script>alert(1)</script>", "r": {}}')
    told = online.get(TWICE.replace("/adapters", "/adapters/check")).text
    assert "This adapter is of the kind &lt;script&gt;" in told
    assert "<script>alert" not in told
    (tmp_path / "shelf/two-lora/adapter_config.json").write_text("\x00")
    assert "adapter_config.json" in online.get(TWICE.replace("/adapters", "/adapters/check")).text
    assert online.post("/adapters", data={"adapter": [ONE, TWO]}).status_code == 422
    assert store.list() == []


@pytest.fixture
def finished(database: Sessions, settings: Settings) -> Job:
    params = read_merge([ONE, TWO], weights=[1, 0.5], method="ties", rank=4).as_params()
    store = Store(database)
    job, _ = store.submit(NewJob("merge-adapters", title="One and two", parents=[ONE, TWO], params=params))
    claim = Claim.take(database, job.id, worker="w", pid=1, lease=600)
    assert claim is not None
    keep_files(
        settings,
        job.id,
        {"adapter_model.safetensors": b"x", "adapter_config.json": b"{}"},
        base='a/"b',
        told=["1 module of rank 4."],
    )
    assert claim.succeed({"bytes": 3, "files": 2})
    done = store.get(job.id)
    assert done is not None
    return done


def test_a_finished_adapter_is_taken_away_like_any_other_result(client: TestClient, finished: Job) -> None:
    page = client.get(f"/jobs/{finished.id}").text
    code = one(page, "code", id="snippet-load").text
    assert "PeftModel.from_pretrained(model, " in code
    assert r'from_pretrained("a/\"b", dtype="auto")' in code
    assert "/files/adapter_model.safetensors" in page
    assert "1 module of rank 4." in page
    assert [link.text for link in elements(page, "a") if link.attributes["href"].startswith("/models/view?ref=local")]
    again = client.get(link_called(page, "Open its form")).text
    assert shown(again) == [("adapter", ONE), ("weight", "1"), ("adapter", TWO), ("weight", "0.5")]
    assert not elements(page, id="loom")
    assert "Merge with it" not in page, "nobody knows its base"
    assert "Merge of adapters" in client.get("/jobs").text
    assert client.get(f"/api/jobs/{finished.id}/files/adapter_config.json").content == b"{}"
    told = client.get(f"/api/jobs/{finished.id}").json()
    assert [file["name"] for file in told["artifact"]["files"]] == ["adapter_model.safetensors", "adapter_config.json"]


def test_an_adapter_is_uploaded_like_any_other_result(online: TestClient, store: Store, finished: Job) -> None:
    answer = online.post(f"/jobs/{finished.id}/upload", data={"repo": "alice/lora", "token": "hf_" + "a" * 20})
    upload = store.get(answer.headers["location"].removeprefix("/jobs/"))
    assert upload is not None
    assert (upload.kind, upload.source_job) == ("upload", finished.id)


def test_a_result_goes_into_the_next_merge(online: TestClient, database: Sessions, with_hub: Settings) -> None:
    made = finished_job(database, with_hub, {"model.safetensors": b"x"}, kind="merge-adapters", base="loom/base")
    folder = with_hub.artifacts / made.id
    write_adapter(folder, factors("model.layers.0.self_attn.q_proj", 32, 32, 3), r=3)
    page = online.get(f"/jobs/{made.id}").text
    (parent,) = [field.attributes["value"] for field in elements(page, "input", name="add")]
    assert parent == f"loom/base+local:results/{made.id}"
    builder = online.post("/build", data={"action": "add", "add": parent}).text
    assert f"local:results/{made.id}" in form_of(builder, "build")["recipe"]
    again = online.get(link_called(page, "Merge with other adapters")).text
    assert shown(again) == [("adapter", f"local:results/{made.id}"), ("weight", "1")]
    recipe = f"merge_method: passthrough\nmodels: [{{model: {parent}}}]"
    findings = online.post("/api/recipes/check", content=recipe).json()["findings"]
    assert not [one for one in findings if one["level"] == "error"]
    assert made.id not in online.get("/models/suggest?q=local").text, "offered to nobody"
    assert made.id not in online.get("/models").text


def test_the_guide_and_the_models_lead_there(client: TestClient) -> None:
    assert elements(client.get("/guide?have=adapters&base=shared&want=combine").text, "a", href="/adapters")
    assert not elements(client.get("/guide?have=two&base=shared&want=combine").text, "a", href="/adapters")
    assert elements(client.get("/models").text, "a", href="/adapters")


def test_the_page_of_an_adapter_and_of_a_fine_tune_lead_there(online: TestClient, hub: StandInHub) -> None:
    page = online.get("/models/view", params={"ref": ONE}).text
    assert shown(online.get(link_called(page, "Merge with adapters")).text)
    hub.repos.set_meta("loom/code", tags=["base_model:loom/base"])
    page = online.get("/models/view", params={"ref": "loom/code"}).text
    form = online.get(link_called(page, "what it learnt, as a LoRA")).text
    assert one(form, "input", id="base").attributes["value"] == "loom/base"


def link_called(page: str, words: str) -> str:
    return next(link.attributes["href"] for link in elements(page, "a") if link.text == words)


EXTRACT = {"tuned": "loom/code", "base": "loom/base"}


def test_an_adapter_out_of_a_fine_tune(online: TestClient, store: Store) -> None:
    page = online.get("/adapters/extract").text
    assert not elements(page, "button", formaction="/adapters/extract")
    first = online.get("/adapters/extract?tuned=loom/code&action=take&rank=16")
    assert first.headers["location"] == "/adapters/extract?tuned=loom%2Fcode"
    page = online.get(f"{first.headers['location']}&base=loom/base&rank=4&modules=q_proj,+v_proj&whole=no").text
    sent = {
        field.attributes["name"]: field.attributes["value"]
        for field in elements(page, "input")
        if "extract" in field.inside
    }
    assert (sent["rank"], sent["modules"]) == ("4", "q_proj, v_proj")
    checked = online.get("/adapters/extract", params={**sent, "whole": "no", "action": "check"}).text
    assert "4 on 8" in checked
    assert "Norms, embeddings, head and biases stay" in checked
    answers = [online.post("/adapters/extract", data={**sent, "whole": "no"}) for _ in range(2)]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    job = store.get(answers[0].headers["location"].removeprefix("/jobs/"))
    assert job is not None
    assert (job.kind, job.title) == ("extract-lora", "LoRA of code on base")
    assert all("@" in parent for parent in job.parents), "pinned"
    assert (job.params["modules"], job.params["whole"], job.params["rank"]) == (["q_proj", "v_proj"], False, 4)
    shown = online.get(f"/jobs/{job.id}").text
    assert "modules=q_proj%2C+v_proj&whole=no" in link_called(shown, "Open its form")
    assert "LoRA extracted" in shown


def test_what_cannot_be_extracted_comes_back(online: TestClient, store: Store) -> None:
    for more, words in (
        ({"modules": "q_porj"}, "There is no linear layer called q_porj. "), ({"rank": "x"}, "is not a whole number"),
        ({"tuned": "loom/nobody"}, "loom/nobody"), ({"base": "/etc"}, "is not a model reference"),
        ({"tuned": ONE}, "is an adapter"), ({"max_error": "9"}, "lies between 0 and 1"),
    ):  # fmt: skip
        answer = online.post("/adapters/extract", data=EXTRACT | more)
        assert answer.status_code == 422
        assert words.strip() in unescape(answer.text)
    assert online.get("/adapters/extract?tuned=not a model&action=take").status_code == 422
    assert store.list() == []


def test_the_card_of_a_fine_tune_names_its_base(online: TestClient, hub: StandInHub) -> None:
    hub.repos.set_meta("loom/code", tags=["base_model:loom/base"])
    told = online.get("/adapters/extract/check?tuned=loom/code").text
    assert one(told, "a", href="/adapters/extract?tuned=loom%2Fcode&base=loom%2Fbase")


def test_extraction_over_the_api(online: TestClient, store: Store) -> None:
    known = online.post("/api/adapters/extract/check", json=EXTRACT | {"rank": 4, "whole": False}).json()
    assert known["outline"]["ranks"] == [4, 4]
    answer = online.post("/api/adapters/extract", json=EXTRACT)
    assert answer.status_code == 202
    job = store.get(answer.json()["id"])
    assert job is not None
    assert job.kind == "extract-lora"
    refused = online.post("/api/adapters/extract", json=EXTRACT | {"modules": ["nothing"]})
    assert (refused.status_code, refused.json()["findings"][0]["code"]) == (422, "no-such-module")


def test_over_the_api(online: TestClient, store: Store) -> None:
    body = {"adapters": [ONE, TWO], "weights": [1, 0.5], "method": "cat"}
    known = online.post("/api/adapters/check", json=body).json()
    assert known["outline"]["ranks"] == [6, 6]
    assert "rank-grows" in {one["code"] for one in known["findings"]}
    answers = [online.post("/api/adapters", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    job = store.get(answers[0].json()["id"])
    assert job is not None
    assert job.params["weights"] == [1.0, 0.5]
    for wrong, code in (({"adapters": []}, "wrong-number-of-adapters"), ({"rank": 3}, "rank-not-free")):
        for address in ("/api/adapters", "/api/adapters/check"):
            answer = online.post(address, json={**body, **wrong})
            assert answer.status_code == 422
            assert code in {one["code"] for one in answer.json()["findings"]}
    assert "/api/adapters" in online.get("/api").text
