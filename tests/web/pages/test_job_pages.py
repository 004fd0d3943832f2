"""A job's page in every state it can be in, its buttons, and what is sent while it runs."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI
from redis import Redis
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.claim import Claim, Numbers
from app.jobs.events import Event, Publisher, stream
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.main import create_app
from app.recipe.findings import refuse
from app.settings import Settings
from app.storage.base import ArtifactFile
from app.web.pages.job_memory import JobMemory
from app.web.pages.job_snippets import folder_name, snippets
from app.web.pages.jobs import event_renderer
from tests.support.redis import RedisServer
from tests.web.artifacts import finished_job
from tests.web.conftest import TOKEN, browser
from tests.web.pages.html import elements, one

RECIPE = """\
merge_method: linear
models:
  - {model: loom/code, parameters: {weight: 1}}
  - {model: loom/prose, parameters: {weight: 1}}
"""
HALF = Numbers(tensors_done=20, tensors_total=40, bytes_done=300, bytes_total=600, rate=100.0, eta_seconds=3.0)


@pytest.fixture
def job(store: Store) -> Job:
    return store.submit(NewJob("merge", recipe=RECIPE, pinned=RECIPE, title="Code and prose", parents=["loom/code"]))[0]


@pytest.fixture
def claim(database: Sessions, job: Job) -> Claim:
    claim = Claim.take(database, job.id, worker="celery@loom-1", pid=1, lease=600)
    assert claim is not None
    claim.enter("checking", Numbers(), "Checking the recipe against its parents.")
    return claim


def states(page: str) -> list[str]:
    return [
        element.attributes["class"].removeprefix("stage ")
        for element in elements(page, "li")
        if element.attributes.get("class", "").startswith("stage ")
    ]


def test_a_waiting_job_tells_its_place_and_the_missing_worker(client: TestClient, store: Store, job: Job) -> None:
    second = store.submit(NewJob("merge", recipe=RECIPE, title="Second"))[0]
    page = client.get(f"/jobs/{second.id}").text
    assert "2nd in line" in page
    assert "no worker is running" in page
    assert states(page) == ["ahead"] * 5
    assert one(page, "main").attributes["hx-sse:connect"].startswith(f"/jobs/{second.id}/events?after=")
    assert "Next in line" in client.get(f"/jobs/{job.id}/progress").text


def test_a_running_job_tells_how_far_it_is(client: TestClient, job: Job, claim: Claim) -> None:
    claim.enter("merging", HALF, "Merging 40 tensors into 1 file.")
    page = client.get(f"/jobs/{job.id}").text
    assert states(page) == ["done", "done", "now", "ahead", "ahead"]
    assert one(page, "strong", **{"class": "big"}).text == "50 %"
    assert one(page, "progress").attributes["value"] == "500"
    assert "20 of 40 tensors" in page
    assert one(page, "job-clock").attributes["left"] == "3"
    assert "running on loom-1" in one(page, "span", id="state").text
    assert "Merging 40 tensors into 1 file." in one(page, "ol", id="log").text


def test_the_live_stream_goes_on_where_the_page_ended(client: TestClient, store: Store, job: Job, claim: Claim) -> None:
    page = client.get(f"/jobs/{job.id}").text
    last = store.events(job.id)[-1].id
    assert one(page, "main").attributes["hx-sse:connect"] == f"/jobs/{job.id}/events?after={last}"


def test_a_failed_job_says_why_and_can_be_tried_again(client: TestClient, store: Store, job: Job, claim: Claim) -> None:
    claim.enter("downloading", Numbers(bytes_total=100), "Fetching.")
    claim.fail(refuse("truncated", "model.safetensors", "The file ends too early.", "Try again.").findings)
    page = client.get(f"/jobs/{job.id}").text
    assert states(page) == ["done", "failed", "ahead", "ahead", "ahead"]
    outcome = one(page, "div", id="outcome").text
    assert "The file ends too early." in outcome
    assert "Try again." in outcome
    assert "hx-sse:connect" not in one(page, "main").attributes
    answer = client.post(f"/jobs/{job.id}/retry")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job.id}")
    again = store.get(job.id)
    assert again is not None
    assert again.state == "queued"
    assert client.post(f"/jobs/{job.id}/retry").status_code == 409


def test_cancel_without_a_script(client: TestClient, store: Store, job: Job) -> None:
    page = client.get(f"/jobs/{job.id}").text
    assert one(page, "form", action=f"/jobs/{job.id}/cancel").attributes["method"] == "post"
    assert client.post(f"/jobs/{job.id}/cancel").status_code == 303
    page = client.get(f"/jobs/{job.id}").text
    assert "cancelled" in one(page, "span", id="state").text
    assert not elements(page, "form", action=f"/jobs/{job.id}/cancel")
    assert client.post(f"/jobs/{job.id}/cancel").status_code == 303


def test_a_running_job_that_was_asked_to_stop_says_so(client: TestClient, job: Job, claim: Claim) -> None:
    client.post(f"/jobs/{job.id}/cancel")
    page = client.get(f"/jobs/{job.id}").text
    assert "stopping" in one(page, "span", id="state").text
    assert "Stopping…" in page


def test_a_finished_job_gives_its_files(client: TestClient, database: Sessions, settings: Settings) -> None:
    done = finished_job(database, settings, {"model.safetensors": b"weights", "sub folder/a b.json": b"{}"})
    page = client.get(f"/jobs/{done.id}").text
    assert states(page) == ["done"] * 5
    links = [link.attributes["href"] for link in elements(page, "a") if "download" in link.attributes]
    assert [client.get(link).content for link in links] == [b"weights", b"{}"]
    fetch = one(page, "code", id="snippet-fetch").text
    assert f"http://127.0.0.1:8300/api/jobs/{done.id}/files/sub%20folder/a%20b.json" in fetch
    assert "mkdir -p 'sub folder'" in fetch
    token = one(page, "input", id="token").attributes
    assert (token["type"], token["autocomplete"]) == ("password", "off")
    assert "checked" in one(page, "input", name="private").attributes


def test_upload_without_a_script(client: TestClient, store: Store, database: Sessions, settings: Settings) -> None:
    done = finished_job(database, settings, {"model.safetensors": b"weights"})
    answer = client.post(f"/jobs/{done.id}/upload", data={"repo": "alice/mine", "token": TOKEN, "private": "yes"})
    assert answer.status_code == 303
    upload = store.get(answer.headers["location"].removeprefix("/jobs/"))
    assert upload is not None
    assert upload.params == {"repo": "alice/mine", "private": True}
    page = client.get(answer.headers["location"]).text
    assert "alice/mine" in page
    assert TOKEN not in page
    assert "alice/mine" in client.get(f"/jobs/{done.id}").text
    public = client.post(f"/jobs/{done.id}/upload", data={"repo": "alice/open", "token": TOKEN})
    opened = store.get(public.headers["location"].removeprefix("/jobs/"))
    assert opened is not None
    assert opened.params["private"] is False


@pytest.mark.parametrize("fields", [{"repo": "no", "token": TOKEN}, {"repo": "a/b", "token": ""}, {}])
def test_a_refused_upload_never_shows_the_token(
    client: TestClient, database: Sessions, settings: Settings, fields: dict[str, str]
) -> None:
    done = finished_job(database, settings, {"model.safetensors": b"weights"})
    answer = client.post(f"/jobs/{done.id}/upload", data=fields)
    assert answer.status_code == 422
    assert TOKEN not in answer.text


def test_the_list_shows_filters_and_pages(client: TestClient, store: Store) -> None:
    assert "No merge has run yet" in client.get("/jobs").text
    for number in range(45):
        store.submit(NewJob("merge", recipe=RECIPE, title=f"Number {number}"))
    first = client.get("/jobs").text
    assert len(elements(first, "a", **{"class": "main"})) == 40
    assert "Number 44" in first
    second = client.get("/jobs", params={"page": 2}).text
    assert len(elements(second, "a", **{"class": "main"})) == 5
    assert "No job is like that" in client.get("/jobs", params={"state": "failed"}).text
    part = client.get("/jobs", headers={"HX-Request-Type": "partial"}).text
    assert "<html" not in part
    assert "Number 44" in part


def test_an_unknown_job_is_not_found(client: TestClient) -> None:
    for place in ("/jobs/nope", f"/jobs/{'0' * 32}", f"/jobs/{'0' * 32}/loom"):
        assert client.get(place).status_code == 404


def test_the_loom_is_drawn_and_covered_as_far_as_it_is_not_written(online: TestClient, store: Store) -> None:
    place = online.post("/jobs", data={"recipe": RECIPE, "key": "k"}).headers["location"]
    answer = online.get(f"{place}/loom").text
    cover = next(path for path in elements(answer, "path", **{"class": "unwoven"}))
    woven = [path for path in elements(answer, "path") if "fill t-" in path.attributes.get("class", "")]
    assert cover.attributes["d"].count("M") == sum(path.attributes["d"].count("M") for path in woven) / 2


def test_what_is_sent_while_it_runs(with_hub: Settings, store: Store) -> None:
    app = create_app(with_hub)
    with browser(app) as client:
        place = client.post("/jobs", data={"recipe": RECIPE, "key": "k"}).headers["location"]
        client.get(f"{place}/loom")
        job = store.get(place.removeprefix("/jobs/"))
        assert job is not None
        job.state, job.stage = "running", "merging"
        render = event_renderer(app)
        event = Event("progress", {**vars_of(HALF), "stage": "merging", "tensor": "x"})
        progress = render(event, job)
        targets = [part.attributes["hx-target"] for part in elements(progress, "hx-partial")]
        assert targets == ["#progress", "#woven-cover"]
        assert "50 %" in progress
        line = render(Event("log", {"text": "<b>bold</b>", "at": 1.0}, 5), job)
        assert "&lt;b&gt;bold" in line
        assert "#log" in [part.attributes["hx-target"] for part in elements(line, "hx-partial")]
        job.state = "succeeded"
        done = render(Event("done", {"text": "Done.", "at": 1.0, "state": "succeeded"}, 6), job)
        swaps = {part.attributes["hx-target"] for part in elements(done, "hx-partial")}
        assert {"#outcome", "#actions", "#state", "#told"} <= swaps
        assert [part.attributes["hx-get"] for part in elements(done, "div", **{"hx-trigger": "load"})] == [
            f"{place}/loom", f"{place}/outcome",
        ]  # fmt: skip


def vars_of(numbers: Numbers) -> dict[str, object]:
    return {name: getattr(numbers, name) for name in Numbers.__dataclass_fields__}


def test_the_throughput_survives_a_new_web_process(
    with_redis: Settings, redis: RedisServer, store: Store, job: Job, claim: Claim
) -> None:
    claim.enter("merging", HALF, "Merging.")
    with redis.client() as client:
        add_rates(client, job.id, [100.0, 400.0, 200.0, 300.0, 300.0])
    with browser(create_app(with_redis)) as web:
        page = web.get(f"/jobs/{job.id}").text
    assert elements(page, "path", **{"class": "area"})


def add_rates(client: Redis, job_id: str, rates: list[float]) -> None:
    for second, rate in enumerate(rates, start=1_700_000_000):
        data = json.dumps({"rate": rate, "stage": "merging"})
        client.xadd(stream(job_id), {"kind": "progress", "data": data}, id=f"{second * 1000}-0")


def test_memory_is_bounded_and_keeps_one_rate_a_second() -> None:
    now = [0.0]
    memory = JobMemory(clock=lambda: now[0])
    for index in range(3000):
        now[0] = index / 4
        memory.add_rate("a", float(index))
    assert len(memory.rates("a")) == 600
    assert memory.rates("a")[-1] - memory.rates("a")[-2] == 4.0
    for index in range(200):
        memory.add_rate(f"job {index}", 1.0)
    assert memory.rates("a") == ()
    memory.add_rate("b", None)
    assert memory.rates("b") == ()
    memory.seed_rates("c", [1.0, 2.0])
    memory.seed_rates("c", [3.0])
    assert memory.rates("c") == (1.0, 2.0)


def test_the_publisher_and_the_page_speak_of_the_same_stream(
    with_redis: Settings, redis: RedisServer, job: Job
) -> None:
    publisher = Publisher(with_redis)
    publisher.progress(job.id, "merging", HALF)
    publisher.close()
    with redis.client() as client:
        assert client.xlen(stream(job.id)) == 1


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Hermes × Cogito 8B", "Hermes-x-Cogito-8B"),
        ("$(rm -rf ~) `x` \"'", "rm-rf-x"),
        ("../..", "merged-model"),
        ("日本語", "merged-model"),
        ("x" * 300, "x" * 80),
    ],
)
def test_a_title_makes_a_harmless_folder_name(title: str, expected: str) -> None:
    assert folder_name(title) == expected
    assert f"&& cd {expected}" in snippets(title, "0" * 32, "http://h", ()).fetch


def test_snippets_are_safe_to_paste(app: FastAPI) -> None:
    lines = snippets("t", "0" * 32, "http://h", [ArtifactFile("a'; rm -rf ~ #.json", 1, "0" * 64)]).fetch
    assert "-o 'a'\"'\"'; rm -rf ~ #.json' " in lines


@pytest.mark.parametrize(
    ("names", "loader", "line"),
    [
        (("config.json", "model.safetensors"), "transformers", "AutoModelForCausalLM"),
        (("config.json", "diffusion_pytorch_model.safetensors"), "diffusers", 'AutoModel.from_pretrained("t")'),
        (("night'; x.safetensors", "README.md"), "safetensors", '["night\'; x.safetensors"]'),
    ],
)
def test_lines_to_load_it_are_those_of_its_library(names: tuple[str, ...], loader: str, line: str) -> None:
    lines = snippets("t", "0" * 32, "http://h", [ArtifactFile(name, 1, "0" * 64) for name in names])
    assert lines.loader == loader
    assert line in lines.load
    compile(lines.load, "load", "exec")


def test_what_was_changed_in_the_config_is_shown_before_and_after(
    client: TestClient, database: Sessions, settings: Settings
) -> None:
    changes = [
        {"key": "num_hidden_layers", "before": "4", "after": "6"},
        {"key": "tie_word_embeddings", "before": None, "after": "false"},
        {"key": "auto_map", "before": '{"a": "<b>"}', "after": None},
    ]
    job = finished_job(database, settings, {"config.json": b"{}"}, config_changes=changes)
    page = client.get(f"/jobs/{job.id}").text
    assert "3 changes, before and after" in page
    assert [element.text for element in elements(page, "del")] == ["4", '{"a": "<b>"}']
    assert [element.text for element in elements(page, "ins")] == ["6", "false"]
    assert "before and after" not in client.get(f"/jobs/{finished_job(database, settings, {'a': b''}).id}").text
