"""Uploads with the official client in its own process: whole, repeatable, cancellable, and silent about the token."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.hub import upload
from app.hub.upload import UploadResult, upload_folder
from app.recipe.findings import Refused
from app.settings import PUBLIC_HUB
from tests.hub.conftest import ALICE, BOB, READER, WEIGHTS
from tests.support.hub import StandInHub
from tests.support.waiting import until

REPO = "alice/merged"
CARD = "---\nlicense: mit\nbase_model:\n- a/b\ntags:\n- merge\n---\n# Merged\n"


class Stop(Exception):
    """What a caller raises to cancel."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "result"
    (made / "sub").mkdir(parents=True)
    (made / "README.md").write_text(CARD)
    (made / "config.json").write_text("{}")
    (made / "sub" / "notes.txt").write_text("x")
    (made / "model-00001-of-00002.safetensors").write_bytes(WEIGHTS)
    (made / "model-00002-of-00002.safetensors").write_bytes(WEIGHTS[::-1])
    return made


def send(hub: StandInHub, folder: Path, token: str = ALICE, **options: object) -> UploadResult:
    return upload_folder(hub.endpoint, REPO, folder, token, **options)  # type: ignore[arg-type]


def refusal(hub: StandInHub, folder: Path, token: str = ALICE, **options: object) -> str:
    with pytest.raises(Refused) as refused:
        send(hub, folder, token, **options)
    (finding,) = refused.value.findings
    assert finding.text
    assert finding.fix
    assert token not in str(refused.value)
    return finding.code


def stored(hub: StandInHub) -> dict[str, bytes]:
    files = hub.repos.head(REPO)[1]
    return {name: file.source.read_bytes() for name, file in files.items() if name != ".gitattributes"}


def local(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_arrives_whole_and_private(hub: StandInHub, folder: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    result = send(hub, folder, on_progress=lambda *step: steps.append(step), message="Merged it")
    assert result == UploadResult(f"{hub.endpoint}/{REPO}", hub.commit_of(REPO))
    assert stored(hub) == local(folder)
    assert hub.repos.meta(REPO)["private"] is True
    total = sum(len(content) for content in local(folder).values())
    assert sorted(name for name, _, _ in steps) == sorted(local(folder))
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)
    assert {whole for _, _, whole in steps} == {steps[-1][1]} == {total}
    assert len(hub.requests("/commit/")) == 1
    assert len(hub.requests("/lfs/", "PUT")) == 2


def test_public_when_asked_for(hub: StandInHub, folder: Path) -> None:
    send(hub, folder, private=False)
    assert hub.repos.meta(REPO)["private"] is False


def test_a_second_time_changes_nothing(hub: StandInHub, folder: Path) -> None:
    first = send(hub, folder)
    hub.forget()
    assert send(hub, folder) == first
    assert not hub.requests("/lfs/", "PUT")
    assert not hub.requests("/commit/")


def test_an_empty_repository_is_filled(hub: StandInHub, folder: Path) -> None:
    hub.repos.create(REPO, private=True)
    send(hub, folder)
    assert stored(hub) == local(folder)


@pytest.mark.parametrize("files", [{"other.txt": "x"}, {"config.json": "[]"}, {"config.json": "{}", "other.txt": ""}])
def test_a_repository_with_other_files_is_left_alone(hub: StandInHub, folder: Path, files: dict[str, str]) -> None:
    commit = hub.add(REPO, files, private=True)
    assert refusal(hub, folder) == "repo-exists"
    assert hub.commit_of(REPO) == commit


def test_a_public_repository_does_not_get_what_should_be_private(hub: StandInHub, folder: Path) -> None:
    hub.repos.create(REPO, private=False)
    assert refusal(hub, folder) == "repo-exists"
    send(hub, folder, private=False)
    assert stored(hub) == local(folder)


def test_an_attempt_that_broke_off_is_continued(hub: StandInHub, folder: Path) -> None:
    last = hub.fault("status", "/lfs/", method="PUT", status=403, skip=1, times=None)
    assert refusal(hub, folder) == "token-refused"
    assert last.happened
    assert stored(hub) == {}
    hub.heal()
    hub.forget()
    send(hub, folder)
    assert len(hub.requests("/lfs/", "PUT")) == 1
    assert stored(hub) == local(folder)


def test_passing_troubles_are_waited_out(hub: StandInHub, folder: Path) -> None:
    for path in ("/api/repos/create", "/preupload/", "/lfs/", "/commit/"):
        hub.fault("status", path, method=None, status=503)
    send(hub, folder)
    assert stored(hub) == local(folder)
    assert all(fault.happened == 1 for fault in hub._faults.script)


def test_a_commit_whose_answer_is_lost_counts(hub: StandInHub, folder: Path) -> None:
    hub.fault("cut", "/commit/", after=0)
    result = send(hub, folder)
    assert stored(hub) == local(folder)
    assert result.commit == hub.commit_of(REPO)


def test_a_change_by_somebody_else_is_told(hub: StandInHub, folder: Path) -> None:
    hub.fault("status", "/commit/", status=412)
    assert refusal(hub, folder) == "repo-changed"


def test_a_bad_card_is_told_before_anything_is_sent(hub: StandInHub, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: [mit\n---\n")
    assert refusal(hub, folder) == "bad-card"
    assert REPO not in hub.repos.names()


@pytest.mark.parametrize(
    ("token", "repo", "code"),
    [
        ("hf_wrong", REPO, "token-refused"),
        (READER, REPO, "token-cannot-write"),
        (BOB, REPO, "wrong-namespace"),
        (ALICE, "merged", "bad-repository"),
        (ALICE, "alice/../bob/x", "bad-repository"),
        (ALICE, "alice/a b", "bad-repository"),
    ],
)
def test_wrong_tokens_and_names(hub: StandInHub, folder: Path, token: str, repo: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        upload_folder(hub.endpoint, repo, folder, token)
    assert refused.value.findings[0].code == code
    assert hub.repos.names() == []


def test_an_organisation_of_the_account_is_fine(hub: StandInHub, folder: Path) -> None:
    assert upload_folder(hub.endpoint, "guild/merged", folder, ALICE).url == f"{hub.endpoint}/guild/merged"


def test_a_cancel_takes_effect_in_the_middle_of_a_file(hub: StandInHub, folder: Path) -> None:
    hub.fault("hang", "/lfs/", method="PUT", times=None)

    def check() -> None:
        if hub.requests("/lfs/", "PUT"):
            raise Stop

    with pytest.raises(Stop):
        send(hub, folder, check=check)
    assert stored(hub) == {}
    assert not [child for child in psutil.Process().children() if "app.hub.uploading" in child.cmdline()]


PARENT = """
import sys
from pathlib import Path
from app.hub.upload import upload_folder
endpoint, repo, folder, token = sys.argv[1:]
upload_folder(endpoint, repo, Path(folder), token)
"""


def test_the_process_ends_with_the_one_that_waits_for_it(hub: StandInHub, folder: Path) -> None:
    hub.fault("hang", "/lfs/", method="PUT", times=None)
    with subprocess.Popen([sys.executable, "-c", PARENT, hub.endpoint, REPO, str(folder), ALICE]) as parent:
        until(lambda: bool(hub.requests("/lfs/", "PUT")))
        (child,) = psutil.Process(parent.pid).children()
        parent.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_the_token_is_in_no_argument_variable_log_or_file(
    hub: StandInHub, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", "hf_somebody_elses")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    seen: list[str] = []

    def watch() -> None:
        with suppress(psutil.Error):  # it may end at any moment
            seen.extend(f"{child.cmdline()} {child.environ()}" for child in psutil.Process().children())

    send(hub, folder, check=watch)
    assert any("app.hub.uploading" in one for one in seen)
    assert not any(ALICE in one or "hf_somebody_elses" in one for one in seen)
    assert ALICE not in caplog.text
    assert {entry.token for entry in hub.seen} == {ALICE, None}
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or ALICE.encode() not in path.read_bytes()


def test_xet_is_for_the_public_hub_only() -> None:
    assert upload._environment("http://127.0.0.1:1")["HF_HUB_DISABLE_XET"] == "1"
    assert "HF_HUB_DISABLE_XET" not in upload._environment(PUBLIC_HUB)
    for endpoint in ("http://127.0.0.1:1", PUBLIC_HUB):
        assert upload._environment(endpoint)["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
