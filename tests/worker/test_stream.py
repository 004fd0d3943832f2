"""Merges that store no parent: the same bytes from nothing but the ranges that are used, over lines good and bad."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.hub.transport import FETCHING
from app.recipe.findings import Refused
from app.storage.base import Manifest
from tests.support.adapters import factors, write_adapter
from tests.support.hub_faults import limited
from tests.support.quiet import Quiet
from tests.worker.far import LINEAR, RECIPES, SUBSET, TIES, WEIGHTS, Bench, served, weights_sent
from tests.worker.quiet import plan_of
from worker.engine.execute import Written
from worker.steps import remote_file, stream, supply
from worker.steps.check import needed


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many parts of a model, and a few read ahead."""
    for module in (remote_file, stream):
        monkeypatch.setattr(module, "PART", 100_000)
    monkeypatch.setattr(remote_file, "NEAR", 64)
    monkeypatch.setattr(stream, "AHEAD", 5)


@pytest.mark.parametrize("recipe", RECIPES, ids=["linear", "ties", "stages", "subset"])
def test_the_same_bytes_as_from_stored_parents_and_nothing_stored(
    recipe: str, bench: Bench, from_stored: dict[str, Manifest]
) -> None:
    assert bench.merge(recipe, stream=True) == from_stored[recipe]
    assert bench.stored() == []
    assert not list(bench.folder.glob("out.work"))
    assert any("SHA-256 cannot be checked" in line for line in bench.watch.lines)
    assert "downloading" not in bench.watch.stages or weights_sent(bench.hub)


def test_a_hub_that_sends_files_itself(models: Path, tmp_path: Path, from_stored: dict[str, Manifest]) -> None:
    (tmp_path / "hub").mkdir()
    with served(tmp_path / "hub", models, cdn=False) as plain:
        bench = Bench(plain, tmp_path)
        assert bench.merge(LINEAR, stream=True) == from_stored[LINEAR]
        bench.library.close()


def test_an_address_is_asked_for_once_and_again_when_it_expires(bench: Bench, from_stored: dict[str, Manifest]) -> None:
    plan_of(bench.library, LINEAR)
    bench.hub.forget()
    expired = bench.hub.fault("status", r"cdn/.*safetensors$", skip=12, status=403)
    assert bench.merge(LINEAR, stream=True) == from_stored[LINEAR]
    assert expired.happened
    asked = [entry for entry in bench.hub.requests("resolve") if entry.path.endswith("safetensors")]
    assert len(asked) < 40 < len(bench.hub.requests("/cdn/"))
    assert {entry.token for entry in bench.hub.requests("/cdn/")} == {None}


def test_each_byte_is_read_once_and_only_what_is_used(bench: Bench) -> None:
    plan = plan_of(bench.library, SUBSET)
    used = {(one.tensor.file, one.tensor.begin): one.tensor.nbytes for step in plan.steps() for one in step.inputs}
    whole = sum(file.size for file in plan.parents[0].files if file.name.endswith("safetensors"))
    bench.hub.forget()
    bench.merge(SUBSET, stream=True)
    exact = sum(used.values())
    assert exact <= weights_sent(bench.hub) <= exact + 64 * len(used)
    assert exact < whole / 2
    plan = plan_of(bench.library, TIES)
    bench.hub.forget()
    bench.merge(TIES, stream=True, name="ties")
    assert weights_sent(bench.hub) <= 64 * 150 + sum(
        one.tensor.nbytes for step in plan.steps() for one in step.every_input
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "cut", "after": 9000, "times": 12},
        {"kind": "stall", "after": 9000, "times": 2},
        {"kind": "shorter", "after": 700, "times": 3},
        {"kind": "longer", "after": 700, "times": 3},
        {"kind": "status", "times": 3, "status": 503},
        {"kind": "ignore-range", "times": 3},
    ],
    ids=lambda fault: fault["kind"],
)
def test_bad_lines_change_nothing(fault: dict, bench: Bench, from_stored: dict[str, Manifest]) -> None:
    plan_of(bench.library, LINEAR)
    if fault["kind"] == "stall":
        bench.client.fetching = replace(bench.client.fetching, silence=0.3)
    place = WEIGHTS if fault["kind"] == "status" else r"cdn/.*safetensors$"
    done = bench.hub.fault(path=place, skip=1, **fault)
    assert bench.merge(LINEAR, stream=True) == from_stored[LINEAR]
    assert done.happened


def test_when_the_hub_asks_for_a_pause_everybody_pauses(bench: Bench, from_stored: dict[str, Manifest]) -> None:
    plan_of(bench.library, LINEAR)
    bench.hub.fault("status", WEIGHTS, skip=2, **limited(1))
    began = time.monotonic()
    assert bench.merge(LINEAR, stream=True) == from_stored[LINEAR]
    assert time.monotonic() - began >= 1
    assert any("asks for a pause" in line and "Trying again" in line for line in bench.watch.lines)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "status", "status": 503}, "download-failed"),
        ({"kind": "status", "status": 404, "headers": {"X-Error-Code": "EntryNotFound"}}, "file-not-found"),
        ({"kind": "status", **limited(7200)}, "rate-limited"),
    ],
    ids=["broken", "gone", "limited"],
)
def test_what_cannot_be_had_ends_the_merge_with_the_reason(fault: dict, code: str, bench: Bench) -> None:
    plan_of(bench.library, LINEAR)
    bench.hub.fault(path=WEIGHTS, times=None, **fault)
    with pytest.raises(Refused) as refused:
        bench.merge(LINEAR, stream=True)
    assert refused.value.findings[0].code == code
    assert not (bench.folder / "out").exists()


def test_a_line_that_cannot_even_be_opened(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise OSError("no certificates")

    monkeypatch.setattr(bench.client.transport, "async_client", broken)
    monkeypatch.setattr(supply, "fetch", lambda needs, *_, **__: tuple(bench.folder for _ in needs.parents))
    with pytest.raises(OSError, match="no certificates"):
        bench.merge(LINEAR, stream=True)


def test_a_file_that_changes_under_the_same_commit_is_noticed(
    bench: Bench, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that keeps the address and swaps the content: the hash it names gives it away."""
    content = (models / "one" / "model.safetensors").read_bytes()
    config = (models / "one" / "config.json").read_bytes()
    bench.hub.add("org/moved", {"model.safetensors": content, "config.json": config})
    head = bench.hub.repos.head

    class Swap(Quiet):
        def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
            super().enter(stage, text)
            if stage == "merging":
                bench.hub.add("org/moved", {"model.safetensors": content[:-1] + bytes([content[-1] ^ 1])})
                monkeypatch.setattr(bench.hub.repos, "head", lambda repo, _revision="main": head(repo, "main"))

    with pytest.raises(Refused) as refused:
        bench.merge(LINEAR.replace("org/one", "org/moved"), stream=True, watch=Swap())
    assert refused.value.findings[0].code == "parent-changed"
    assert "now sends another model.safetensors of org/moved" in refused.value.findings[0].text


class Shards(Quiet):
    """A watch that keeps finished shards, and stops after some of them."""

    def __init__(self, kept: dict[str, Written], most: int) -> None:
        super().__init__()
        self.kept, self.most = kept, most

    def finished(self, key: str) -> dict[str, Written]:
        return dict(self.kept)

    def shard(self, written: Written, key: str) -> None:
        self.kept[written.file] = written
        if len(self.kept) >= self.most:
            raise InterruptedError


def test_an_interrupted_merge_goes_on_after_its_finished_shards(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import preflight as module
    from app.planning.plan_merge import make_plan

    monkeypatch.setattr(module, "make_plan", lambda *one, **more: make_plan(*one, **more, shard_bytes=600_000))
    whole = bench.merge(LINEAR, stream=True, name="whole")
    kept: dict[str, Written] = {}
    with pytest.raises(InterruptedError):
        bench.merge(LINEAR, stream=True, watch=Shards(kept, 2))
    there = {name: one.size for name, one in kept.items()}
    assert 2 <= len(there) <= 4
    bench.hub.forget()
    assert bench.merge(LINEAR, stream=True, watch=Shards(kept, 99)) == whole
    assert len(kept) == sum(file.name.endswith("safetensors") for file in whole.files) > len(there)
    left = sum(one.size for one in kept.values()) - sum(there.values())
    assert weights_sent(bench.hub) < 2 * left + 100_000


def test_it_stops_at_once_when_told_while_nothing_comes(bench: Bench) -> None:
    plan_of(bench.library, LINEAR)
    bench.client.fetching = FETCHING
    bench.hub.fault("stall", r"safetensors$", after=10, times=None)
    began = time.monotonic()
    with pytest.raises(InterruptedError):
        bench.merge(LINEAR, stream=True, watch=Quiet(stop_at="merging"))
    assert time.monotonic() - began < FETCHING.silence
    assert not [thread for thread in threading.enumerate() if thread.name in ("stream", "engine-0")]


def test_what_is_here_already_is_not_fetched(bench: Bench, from_stored: dict[str, Manifest]) -> None:
    bench.merge(LINEAR, stream=False, name="stored")
    bench.hub.forget()
    assert bench.merge(LINEAR, stream=True) == from_stored[LINEAR]
    assert not weights_sent(bench.hub)


def test_room_is_asked_for_the_result_alone(bench: Bench) -> None:
    plan = plan_of(bench.library, LINEAR)
    stored, streamed = needed(plan), needed(plan, stream=True)
    assert streamed.download < 200_000 < stored.download
    assert streamed.output > stored.output


def grown(bench: Bench, models: Path) -> str:
    """``org/two`` with a token more, on the Hub."""
    files = {path.name: path.read_bytes() for path in (models / "two").iterdir()}
    tokenizer = json.loads(files["tokenizer.json"])
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 2000, "content": "<|new|>"})
    files["tokenizer.json"] = json.dumps(tokenizer).encode()
    bench.hub.add("org/grown", files)
    return "org/grown"


def adapted(bench: Bench, folder: Path) -> str:
    """``org/one`` with an adapter on it, both on the Hub."""
    tensors = factors("model.layers.3.self_attn.q_proj", 128, 128, seed=1)
    adapter = write_adapter(folder / "adapter", tensors)
    bench.hub.add("org/lora", {path.name: path.read_bytes() for path in adapter.iterdir()})
    return "org/one+org/lora"


def test_joined_vocabularies_read_their_rows_from_afar(bench: Bench, models: Path) -> None:
    """The tokenizer that is asked for is joined before the engine starts, from parts as well."""
    recipe = LINEAR.replace("org/two", grown(bench, models)) + "tokenizer: {source: union}\n"
    streamed = bench.merge(recipe, stream=True)
    assert bench.stored() == []
    assert bench.merge(recipe, stream=False, name="stored") == streamed


def test_adapters_are_read_from_afar_too(bench: Bench, tmp_path: Path) -> None:
    recipe = LINEAR.replace("org/two", adapted(bench, tmp_path))
    streamed = bench.merge(recipe, stream=True)
    assert bench.stored() == []
    assert bench.merge(recipe, stream=False, name="stored") == streamed


def test_documents_with_adapters_and_a_joined_vocabulary_are_read_from_afar(
    bench: Bench, models: Path, tmp_path: Path
) -> None:
    """All at once: the matrices that get new rows are made on the way, of parents with adapters."""
    first = TIES.replace("org/two", adapted(bench, tmp_path))
    last = f"""\
merge_method: dare_linear
base_model: mixed
parameters: {{weight: 0.5, density: 0.5}}
models: [{{model: org/two}}, {{model: {grown(bench, models)}}}]
tokenizer: {{source: union, tokens: {{<|mean|>: {{}}, <|new|>: {{source: mixed, force: true}}}}}}
""".replace("source: mixed", "source: {kind: model_token, model: mixed, token_id: 7}")
    recipe = f"name: mixed\n{first}---\n{last}"
    streamed = bench.merge(recipe, stream=True)
    assert bench.stored() == []
    assert not list(bench.folder.glob("out.work"))
    assert bench.merge(recipe, stream=False, name="stored") == streamed
