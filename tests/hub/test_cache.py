"""The cache folder is the one of the official tools, wherever the environment puts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.hub.cache import HubCache, default_cache, safe_file_name

COMMIT = "a" * 40


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"HF_HOME": "/data/hf"},
        {"HF_HOME": "~/hf"},
        {"HF_HOME": "$OTHER/hf"},
        {"XDG_CACHE_HOME": "/xdg"},
        {"HF_HUB_CACHE": "/cache"},
        {"HF_HUB_CACHE": "~/cache", "HF_HOME": "/data/hf"},
        {"HUGGINGFACE_HUB_CACHE": "/older"},
        {"HUGGINGFACE_HUB_CACHE": "/older", "HF_HUB_CACHE": "/cache"},
    ],
)
def test_the_place_is_theirs(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("OTHER", "/other")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"]
    theirs = subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True, check=True).stdout.strip()
    assert str(default_cache()) == theirs


@pytest.mark.parametrize("name", ["config.json", "a/b/c.json", "weights v2.safetensors", "x..y", "ünïcode.txt"])
def test_ordinary_names_are_fine(name: str) -> None:
    assert safe_file_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/..", "/a", "a//b", "a\\b", "a\nb", "a\0b", "a/./b", "\u202e"]
)
def test_names_that_lead_elsewhere_are_not(name: str, tmp_path: Path) -> None:
    assert not safe_file_name(name)
    with pytest.raises(ValueError, match="not a file of a model"):
        HubCache(tmp_path).pointer("a/b", COMMIT, name)


@pytest.mark.parametrize("repo", ["", "a", "../b", "a/../b", "a/b/c", "/a/b", "a/..", "a\\b"])
def test_only_model_ids_have_a_folder(repo: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a model id"):
        HubCache(tmp_path).repo(repo)


@pytest.mark.parametrize("commit", ["", "main", "..", "a" * 39, "A" * 40, "a" * 40 + "/.."])
def test_only_commits_have_a_snapshot(commit: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a commit"):
        HubCache(tmp_path).snapshot("a/b", commit)


def test_room_is_measured_where_the_cache_will_be(tmp_path: Path) -> None:
    assert HubCache(tmp_path / "not" / "yet").free() > 0
    assert not (tmp_path / "not").exists()
