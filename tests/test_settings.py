"""Settings: from the environment and from callers, checked before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.recipe.findings import Refused
from app.settings import PUBLIC_HUB, Settings


def test_the_environment_goes_before_defaults_and_callers_before_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEIGHTLOOM_PORT", "9000")
    monkeypatch.setenv("weightloom_stall_seconds", "7.5")
    settings = Settings(port=1234)
    assert (settings.port, Settings().port, settings.stall_seconds) == (1234, 9000, 7.5)
    assert (settings.host, settings.hub_endpoint, settings.max_parameters) == ("127.0.0.1", PUBLIC_HUB, None)


def test_a_changed_copy_keeps_the_rest_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    settings = Settings(data=tmp_path, port=1234)
    monkeypatch.setenv("WEIGHTLOOM_PORT", "9000")
    assert replace(settings, host="::").port == 1234


def test_lists_are_written_with_commas():
    settings = Settings(allowed_hosts="loom.example, loom.lan,", model_roots="a = /models/a , b=/b,")
    assert settings.allowed_hosts == ("loom.example", "loom.lan")
    assert settings.model_roots == {"a": Path("/models/a"), "b": Path("/b")}


def test_paths_are_made_absolute_and_addresses_lose_their_last_slash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    settings = Settings(hub_endpoint="https://hub.example/")
    assert settings.data == (tmp_path / "data").resolve()
    assert settings.hub_endpoint == "https://hub.example"


def test_everything_that_is_wrong_is_told_at_once_by_the_variables_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEIGHTLOOM_PORT", "65536")
    monkeypatch.setenv("WEIGHTLOOM_MODEL_ROOTS", "nonsense")
    monkeypatch.setenv("WEIGHTLOOM_LEASE_SECONDS", "nan")
    monkeypatch.setenv("WEIGHTLOOM_MAX_PARAMETERS", "0")
    with pytest.raises(Refused) as refused:
        Settings()
    told = {finding.where: finding.text for finding in refused.value.findings}
    assert told == {
        "WEIGHTLOOM_PORT": "WEIGHTLOOM_PORT must be 0 to 65535.",
        "WEIGHTLOOM_MODEL_ROOTS": "WEIGHTLOOM_MODEL_ROOTS must look like name=/path,name2=/path2.",
        "WEIGHTLOOM_LEASE_SECONDS": "WEIGHTLOOM_LEASE_SECONDS must be a number of seconds above 0.",
        "WEIGHTLOOM_MAX_PARAMETERS": "WEIGHTLOOM_MAX_PARAMETERS must be 1 or more.",
    }


def test_the_secret_is_not_shown():
    assert "correct horse" not in repr(Settings(secret_key="correct horse"))


@pytest.mark.parametrize(
    ("how", "alone"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"allowed_hosts": "loom.example"}, False),
    ],
)
def test_a_server_that_others_reach_is_not_one_persons(how: dict, alone: bool):
    assert Settings(**how).alone is alone
