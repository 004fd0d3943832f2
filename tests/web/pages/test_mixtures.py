"""``/mixtures`` over HTTP, without a script, the page of its jobs, and the API."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from app.experts.wanted import GATE_MODES, Expert, WantedMixture, read_mixture, write_mixture
from app.jobs.models import STAGES
from app.jobs.store import NewJob, Store
from app.recipe.from_card import merge_text
from app.recipe.schema import ModelRef
from app.web.mixing import MOST_BYTES
from app.web.pages.expert_rows import BREAK, row_of
from app.web.pages.job_stages import stage_now
from app.web.pages.mixtures_form import LONGEST_ADDRESS, from_pairs, from_wanted
from app.web.pages.pictures import mixture as picture
from tests.support.tiny_models import make_tiny
from tests.web.pages.html import elements, executable, form_of, one

PAIRS = [
    ("base", "loom/base"),
    ("expert", "loom/code"), ("positive", "def main():\nimport os"), ("negative", "Once upon a time"),
    ("expert", "loom/prose"), ("positive", "Once upon a time"),
]  # fmt: skip
ADDRESS = f"/mixtures?{urlencode(PAIRS)}"
BODY = {
    "base_model": "loom/base",
    "experts": [
        {"source_model": "loom/code", "positive_prompts": ["def main():", "import os"],
         "negative_prompts": ["Once upon a time"]},
        {"source_model": "loom/prose", "positive_prompts": ["Once upon a time"]},
    ],
}  # fmt: skip
LIVE = {"HX-Request-Type": "partial"}
MERGE = "merge_method: linear\nmodels:\n- model: a/one\n  parameters: {weight: 1}\n"


def wanted_of(*experts: Expert, **settings: object) -> WantedMixture:
    return WantedMixture(ModelRef("loom/base"), experts, **settings)  # type: ignore[arg-type]


def pairs(page: str) -> list[tuple[str, str]]:
    """What a browser without scripts would send of the form, in order."""
    sent: list[tuple[str, str]] = []
    select = ""
    for element in elements(page):
        name, kind = element.attributes.get("name", ""), element.attributes.get("type", "text")
        if "mixture" not in element.inside:
            continue
        if element.tag == "select":
            select = name
        if element.tag == "option" and "selected" in element.attributes:
            sent.append((select, element.attributes.get("value", element.text)))
        if element.tag == "textarea":
            sent.append((name, element.text))
        if element.tag == "input" and name and (kind not in ("radio", "checkbox") or "checked" in element.attributes):
            sent.append((name, element.attributes["value"]))
    return sent


def post(client: TestClient, sent: list[tuple[str, str]], address: str = "/mixtures") -> Response:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return client.post(address, content=urlencode(sent), headers=headers)


def press(client: TestClient, page: str, action: str, **fields: str) -> str:
    sent = [(name, fields.pop(name, value)) for name, value in pairs(page)]
    answer = post(client, [*sent, *fields.items(), ("action", action)])
    assert answer.status_code == 303, unescape(answer.text)[:3000]
    return client.get(answer.headers["location"]).text


def experts(page: str) -> list[tuple[str, str]]:
    return [pair for pair in pairs(page) if pair[0] in ("expert", "positive")]


def test_from_an_empty_page_to_a_job(online: TestClient, store: Store) -> None:
    page = online.get("/mixtures").text
    assert not elements(page, "button", value="make")
    page = press(online, page, "take", base="loom/base")
    for name in ("loom/prose", "loom/base", "loom/code"):
        page = press(online, page, "take", add=name)
    page = press(online, page, "remove:1")
    page = press(online, page, "down:0")
    page = press(online, page, "up:0")
    page = press(online, page, "down:9")
    assert [value for name, value in experts(page) if name == "expert"] == ["loom/code", "loom/prose"]
    sent = []
    texts = iter(["def main():\r\nimport os\r\n\r\n", "Once upon a time"])
    for name, value in pairs(page):
        sent.append((name, next(texts) if name == "positive" else value))
    checked = post(online, [*sent, ("action", "check")]).text
    assert "parameters, a Mixtral" in checked
    assert "of them for a token" in checked
    assert "only the MLPs go in" in unescape(checked)
    answers = [post(online, [*sent, ("action", "make")]) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {303}, unescape(answers[0].text)
    assert answers[0].headers["location"] == answers[1].headers["location"], "two clicks, one job"
    edited = [(name, "float16" if name == "dtype" else value) for name, value in sent]
    assert post(online, [*edited, ("action", "make")]).headers["location"] != answers[0].headers["location"]
    job = store.get(answers[0].headers["location"].removeprefix("/jobs/"))
    assert job is not None
    assert (job.kind, job.title, job.seed, job.params) == ("mixture", "Mixture of 2 on base", 0, {})
    assert read_mixture(job.recipe) == wanted_of(
        Expert(ModelRef("loom/code"), ("def main():", "import os")),
        Expert(ModelRef("loom/prose"), ("Once upon a time",)),
    )
    assert [parent.partition("@")[0] for parent in job.parents] == ["loom/base", "loom/code", "loom/prose"]
    assert all("@" in parent for parent in job.parents), "pinned"
    assert job.pinned is not None
    assert [str(one) for one in read_mixture(job.pinned).parents()] == job.parents


def test_a_button_leads_back_to_its_expert(client: TestClient) -> None:
    for action, landing in (
        ("up:1", "#expert-1"),
        ("down:0", "#expert-2"),
        ("down:1", "#expert-2"),
        ("remove:1", "#expert-1"),
    ):
        location = post(client, [*PAIRS, ("action", action)]).headers["location"]
        assert location.endswith(landing), action
    added = post(client, [*PAIRS, ("add", "a/b"), ("action", "take")]).headers["location"]
    assert added.endswith("expert=a%2Fb#expert-3")
    assert one(client.get(added).text, "li", id="expert-3")
    assert "#" not in post(client, [*PAIRS[:2], ("action", "remove:0")]).headers["location"]


def test_the_picture_has_a_column_for_every_expert_in_its_thread() -> None:
    experts = [Expert(ModelRef(f"a/{at}")) for at in range(30)]
    few = picture.draw(wanted_of(experts[0], Expert(ModelRef("loom/base")), experts[1], experts[0]), 3)
    assert [(one.colour, one.label) for one in few.columns] == [
        *[("t-base", "")] * 4, ("t-A", "A"), ("t-base", "base"), ("t-B", "B"), ("t-A", "A"),
    ]  # fmt: skip
    assert {one.path.count("M") for one in few.columns} == {3}, "a row a layer"
    assert few.last == "2"
    assert [(one.name, one.gives) for one in few.threads] == [
        ("loom/base", "attention, norms, embeddings, head; MLPs of expert 2"),
        ("a/0", "MLPs of experts 1 and 4"), ("a/1", "MLPs of expert 3"),
    ]  # fmt: skip
    edges = [float(number) for column in few.columns for number in re.findall(r"[MH]([\d.]+)", column.path)]
    assert (min(edges), max(edges)) == (0.0, 1000.0)
    many = picture.draw(wanted_of(*experts), 80)
    assert len(many.columns) == 4 + 30
    assert not any(one.label for one in many.columns), "letters would lie upon each other"
    assert from_wanted(wanted_of(*experts)).colour(row_of(experts[9])) == many.columns[4 + 9].colour == "t-B"


def test_the_address_is_the_form(online: TestClient) -> None:
    page = online.get(f"{ADDRESS}&seed=5&gate_mode=random&dtype=float16&per_token=1&stream=yes").text
    assert experts(page) == [pair for pair in PAIRS if pair[0] in ("expert", "positive")]
    told = post(online, pairs(page), "/mixtures/check").text
    link = elements(told, "a")[-1].attributes["href"]
    assert pairs(online.get(link).text)[1:] == pairs(page)[1:], "but for the key"
    plain = online.get(f"{ADDRESS}&action=take&dtype=bfloat16&seed=0")
    assert plain.headers["location"] == ADDRESS, "what is as usual is left out"


@pytest.mark.parametrize(
    "wanted",
    [
        wanted_of(Expert(ModelRef("a/b"), ("one", "two\nlines", "  indented")), Expert(ModelRef("a/c", "v1"))),
        wanted_of(Expert(ModelRef("a/b"), ("x",), ("y", "z"), residual=0.1), gate_mode="cheap_embed", seed=7),
        wanted_of(
            Expert(ModelRef("a/b"), ("\u2028 <b>&\\n",)),
            shared=(Expert(ModelRef("loom/base"), ("x",), residual=-2.5),),
            architecture="qwen2_moe",
            experts_per_token=1,
            dtype="float32",
        ),
    ],
)  # fmt: skip
def test_a_recipe_comes_back_unchanged(wanted: WantedMixture) -> None:
    form = from_wanted(wanted)
    assert form.wanted() == wanted
    again = from_pairs(parse_qsl(form.address.partition("?")[2], keep_blank_values=True))
    assert again.wanted() == wanted
    assert read_mixture(write_mixture(again.wanted())) == wanted


def test_a_line_within_a_prompt_has_a_sign(client: TestClient) -> None:
    text = write_mixture(wanted_of(Expert(ModelRef("a/b"), ("two\nlines",))))
    answer = post(client, [("action", "import"), ("yaml", text)])
    assert f"two{BREAK}lines" in client.get(answer.headers["location"]).text


def test_what_no_address_can_hold_stays_on_the_page_and_goes_by_yaml(online: TestClient) -> None:
    long = "A long prompt. " * (LONGEST_ADDRESS // 10)
    sent = [(name, long if name == "positive" else value) for name, value in PAIRS]
    answer = post(online, [*sent, ("key", "k"), ("action", "take")])
    assert answer.status_code == 200
    assert long in answer.text
    told = post(online, sent, "/mixtures/check").text
    assert "too long for a link" in told
    file = post(online, [*sent, ("action", "yaml")])
    assert file.headers["content-disposition"] == 'attachment; filename="mixture.yml"'
    back = post(online, [("action", "import"), ("yaml", file.text)])
    assert back.status_code == 200
    assert long in back.text


def test_what_is_wrong_comes_back_with_everything_in_place(online: TestClient, store: Store, tmp_path: Path) -> None:
    make_tiny(tmp_path / "shelf/other", seed=3, layers=2)
    for more, words in (
        (("add", "not a model"), "is not a model reference"), (("add", "/etc"), "is not a model reference"),
        (("per_token", "many"), "is not a whole number"), (("scale", "heavy"), "is not a number"),
        (("gate_mode", "magic"), "is no way to make routers"), (("expert", "loom/nobody"), "loom/nobody"),
        (("expert", "local:shelf/other"), "another size than the base"), (("dtype", "float8"), "is no number format"),
        (("expert", "loom/code"), "has no positive prompts"), (("per_token", "5"), "Each token is to go to 5"),
        (("shared_expert", "loom/base"), "has no shared experts"), (("seed", "-1"), "is not a whole number"),
    ):  # fmt: skip
        answer = post(online, [*PAIRS, more, ("action", "make")])
        assert answer.status_code == 422, more
        assert words in unescape(answer.text), more
        assert "def main():\nimport os" in answer.text
        if more[0] != "add":
            assert words in unescape(post(online, [*PAIRS, more], "/mixtures/check").text)
    assert store.list() == []


def test_a_recipe_that_cannot_be_read_is_kept_and_told(client: TestClient) -> None:
    for text, words in (
        ("experts: [", "YAML"), ("experts: []\nbase_model: a/b\n", "no expert yet"), ("", "no recipe"),
        ("base_model: a/b\nexperts: [{source_model: a/c, positive_promts: [x]}]\n", "positive_prompts"),
    ):  # fmt: skip
        answer = post(client, [*PAIRS, ("action", "import"), ("yaml", text)])
        assert answer.status_code == 422
        assert words in unescape(answer.text)
        assert one(answer.text, "textarea", name="yaml").text == text
        assert experts(answer.text)


def test_routers_at_random_need_no_prompts(online: TestClient, store: Store) -> None:
    sent = [pair for pair in PAIRS if pair[0] in ("base", "expert")] + [("gate_mode", "random"), ("seed", "3")]
    told = unescape(post(online, sent, "/mixtures/check").text)
    assert "useless without" in told
    assert "drawn at random" in told
    answer = post(online, [*sent, ("action", "make")])
    job = store.get(answer.headers["location"].removeprefix("/jobs/"))
    assert job is not None
    assert job.seed == 3
    assert "train them before" in online.get(f"/jobs/{job.id}").text


def test_every_way_to_make_routers_is_in_the_form(client: TestClient) -> None:
    page = client.get(ADDRESS).text
    shown = {one.attributes["value"] for one in elements(page, "input", name="gate_mode")}
    assert shown | {"hidden_last"} == set(GATE_MODES)
    same = client.get(f"{ADDRESS}&gate_mode=hidden_last").text
    assert "checked" in one(same, "input", name="gate_mode", value="hidden").attributes


def test_hostile_words_do_nothing(client: TestClient) -> None:
    hostile = "</textarea><script>alert(1)</script>"
    sent = [("base", "a/b"), ("expert", hostile), ("positive", hostile), ("expert", "a/c"), ("scale", hostile)]
    for answer in (post(client, [*sent, ("action", "take")]), client.get(f"/mixtures?{urlencode(sent)}")):
        assert not executable(answer.text)
    assert not executable(post(client, sent, "/mixtures/check").text)


def test_a_jobs_page_tells_of_a_mixture(online: TestClient, store: Store) -> None:
    text = write_mixture(from_pairs(PAIRS).wanted())
    job, _ = store.submit(NewJob("mixture", recipe=text, title="Mixture of 2 on base", parents=["loom/base"]))
    page = online.get(f"/jobs/{job.id}").text
    assert "Mixture of experts" in online.get("/jobs").text
    assert "Making the routers" in {stage_now(stage) for stage in STAGES["mixture"]}
    assert {"Routers", "Merge", "Publish"} <= {one.text.strip() for one in elements(page, "span") if one.attributes}
    assert one(page, "code", id="recipe-text").text == text
    assert [link.text for link in elements(page, "a") if "panel-parents" in link.inside] == [
        "loom/base", "loom/code", "loom/prose",
    ]  # fmt: skip
    assert "MLPs of expert 2" in page
    assert not elements(page, id="loom")
    form = online.get(next(one.attributes["href"] for one in elements(page, "a") if one.text == "Open its form")).text
    assert experts(form) == [pair for pair in PAIRS if pair[0] in ("expert", "positive")]
    assert online.get("/mixtures?job=0").status_code == 404


def test_the_builders_import_leads_here(online: TestClient, tmp_path: Path) -> None:
    text = write_mixture(from_pairs(PAIRS).wanted())
    card = f"---\nlicense: mit\n---\n# Mixed\n\n```yaml\n{text}```\n"
    (tmp_path / "shelf/one/mergekit_moe_config.yml").write_text(text)
    for fields in ({"recipe": text}, {"recipe": card}, {"published": "local:shelf/one"}):
        assert online.post("/build/import", data=fields).headers["location"] == ADDRESS
        assert online.post("/build/import", data=fields, headers=LIVE).headers["hx-redirect"] == ADDRESS
    long = text.replace("import os", "import os " * LONGEST_ADDRESS)
    told = online.post("/build/import", data={"recipe": long}, headers=LIVE).text
    assert one(told, "textarea", name="yaml").text.strip() == long.strip()
    assert "import os import os" in online.post("/build/import", data={"recipe": long}).text
    wrong = online.post("/build/import", data={"recipe": text.replace("hidden", "hiden")})
    assert "is no way to make routers" in unescape(wrong.text)


def test_the_builders_yaml_leads_here_and_its_draft_stays(online: TestClient) -> None:
    mixture = write_mixture(from_pairs(PAIRS).wanted())
    home = online.post("/build/import", data={"recipe": MERGE}).headers["location"]
    form = form_of(online.get(home).text, "build")
    for text in (mixture, f"# Mixed\n\n```yaml\n{mixture}```\n"):
        said = {**form, "action": "yaml", "yaml": text}
        assert online.post("/build", data=said).headers["location"] == ADDRESS
        assert online.post("/build", data=said, headers=LIVE).headers["hx-redirect"] == ADDRESS
    for text in (mixture.replace("import os", "import os " * LONGEST_ADDRESS), mixture.replace("hidden", "hiden")):
        told = online.post("/build", data={**form, "action": "yaml", "yaml": text}, headers=LIVE).text
        assert one(told, "hx-partial").attributes["hx-target"] == "#trouble"
        assert one(told, "textarea", name="yaml").text.strip() == text.strip()
    assert form_of(online.get(home).text, "build")["recipe"] == form["recipe"]


def test_a_merges_recipe_leads_to_the_builder(client: TestClient) -> None:
    card = f"# Merged\n\n```yaml\n{MERGE}```\n"
    for text in (MERGE, card, f"name: first\n{MERGE}---\n{MERGE}", "merge_method: nope\n"):
        answer = post(client, [*PAIRS, ("action", "import"), ("yaml", text)])
        assert answer.status_code == 303
        kept = form_of(client.get(answer.headers["location"]).text, "build")["recipe"]
        assert kept.strip() == merge_text(text).strip()


def test_other_pages_lead_here(client: TestClient) -> None:
    assert elements(client.get("/models").text, "a", href="/mixtures")
    assert elements(client.get("/guide?have=more&base=shared&want=combine").text, "a", href="/mixtures")
    assert not elements(client.get("/guide?have=two&base=none&want=combine").text, "a", href="/mixtures")


@pytest.mark.parametrize("letter", ["x", "木", "🙂"])
def test_what_is_too_long_for_a_recipe_is_told_as_that_in_any_script(
    online: TestClient, store: Store, letter: str
) -> None:
    """Forms write a byte of other scripts with three, JSON a letter with up to twelve."""
    most = MOST_BYTES // len(letter.encode())
    for count, fits in ((most - 2000, True), (most + 1000, False)):
        prompts = [letter * 8000] * (count // 8000) + [letter * (count % 8000)]
        sent = [("positive", "\n".join(prompts)) if one == PAIRS[2] else one for one in PAIRS]
        answer = post(online, [*sent, ("action", "make")])
        body = {**BODY, "experts": [{**BODY["experts"][0], "positive_prompts": prompts}, BODY["experts"][1]]}
        over_api = online.post("/api/mixtures", json=body)
        assert (answer.status_code, over_api.status_code) == ((303, 202) if fits else (422, 422))
        if not fits:
            assert "120 KB are the most" in answer.text
            assert "\n".join(prompts) in [one.text for one in elements(answer.text, "textarea", name="positive")]
            assert over_api.json()["findings"][0]["code"] == "too-many-prompts"
            continue
        job = store.get(over_api.json()["id"])
        assert job is not None
        for text in (job.recipe, job.pinned or ""):  # as the worker reads them
            assert read_mixture(text).experts[0].positive == tuple(prompts)


def test_over_the_api(online: TestClient, store: Store) -> None:
    known = online.post("/api/mixtures/check", json=BODY).json()
    assert known["mixture"]["architecture"] == "mixtral"
    assert known["mixture"]["active_parameters"] == known["mixture"]["parameters"], "two of two work"
    assert known["estimate"]["output_bytes"] > 0
    assert "only-mlps" in {one["code"] for one in known["findings"]}
    assert read_mixture(known["recipe"]) == from_pairs(PAIRS).wanted()
    body = {**BODY, "stream": True}
    answers = [online.post("/api/mixtures", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    job = store.get(answers[0].json()["id"])
    assert job is not None
    assert (job.kind, job.params) == ("mixture", {"stream": True})
    told = online.get(f"/api/jobs/{job.id}").json()
    assert read_mixture(told["recipe"]) == from_pairs(PAIRS).wanted()
    for wrong, code in (({"experts": []}, "no-experts"), ({"experts_per_token": 9}, "too-few-experts")):
        for address in ("/api/mixtures", "/api/mixtures/check"):
            answer = online.post(address, json={**BODY, **wrong})
            assert answer.status_code == 422
            assert code in {one["code"] for one in answer.json()["findings"]}
    assert "/api/mixtures" in online.get("/api").text
