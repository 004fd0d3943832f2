"""Artifacts are found by id alone, and nothing outside their manifests can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.recipe.findings import Refused
from app.storage.local import LocalArtifacts

ID = "0123456789abcdef" * 2


def write(folder: Path, artifact_id: str = ID, **files: bytes) -> Path:
    home = folder / artifact_id
    home.mkdir(parents=True)
    listed = []
    for name, content in files.items():
        (home / name).write_bytes(content)
        listed.append({"name": name, "size": len(content), "sha256": "0" * 64})
    (home / "MANIFEST.json").write_text(json.dumps({"seed": 7, "files": listed}))
    return home


def test_reading(tmp_path: Path) -> None:
    write(tmp_path, weights=b"12345", config=b"{}")
    artifacts = LocalArtifacts(tmp_path)
    manifest = artifacts.manifest(ID)
    assert manifest is not None
    assert (manifest.size, manifest.about, [file.name for file in manifest.files]) == (
        7,
        {"seed": 7},
        ["weights", "config"],
    )
    with artifacts.open(ID, "weights") as file:
        file.seek(2)
        assert file.read(2) == b"34"
    with artifacts.open(ID, "MANIFEST.json") as file:
        assert json.loads(file.read())["seed"] == 7
    assert list(artifacts.ids()) == [ID]


@pytest.mark.parametrize(
    "name",
    ["unlisted", "../secret", "/etc/passwd", "weights/../../secret", "", ".", "weights\0", "WEIGHTS", "weights/"],
)
def test_only_listed_names_open(tmp_path: Path, name: str) -> None:
    home = write(tmp_path / "artifacts", weights=b"1")
    (home / "unlisted").write_text("no")
    (tmp_path / "secret").write_text("no")
    with pytest.raises(Refused) as refused:
        LocalArtifacts(tmp_path / "artifacts").open(ID, name)
    assert refused.value.findings[0].code == "no-such-file"


@pytest.mark.parametrize("artifact_id", ["..", ".", "", "x" * 32, ID.upper(), ID[:-1], f"{ID}/", f"../{ID}", f"{ID}\n"])
def test_only_ids_are_ids(tmp_path: Path, artifact_id: str) -> None:
    write(tmp_path, ID)
    artifacts = LocalArtifacts(tmp_path)
    assert artifacts.manifest(artifact_id) is None
    artifacts.delete(artifact_id)
    assert artifacts.manifest(ID) is not None


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a/../b", "a\\b", ""])
def test_a_manifest_that_names_what_lies_outside_is_none(tmp_path: Path, name: str) -> None:
    home = write(tmp_path, weights=b"1")
    (home / "MANIFEST.json").write_text(json.dumps({"files": [{"name": name, "size": 1, "sha256": ""}]}))
    assert LocalArtifacts(tmp_path).manifest(ID) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": [{"name": "a"}]}', "\xff"])
def test_a_broken_manifest_is_none(tmp_path: Path, text: str) -> None:
    home = write(tmp_path, weights=b"1")
    (home / "MANIFEST.json").write_bytes(text.encode("latin-1"))
    assert LocalArtifacts(tmp_path).manifest(ID) is None


def test_a_link_put_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    home = write(tmp_path / "artifacts", weights=b"1")
    (tmp_path / "secret").write_text("no")
    (home / "weights").unlink()
    (home / "weights").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused):
        LocalArtifacts(tmp_path / "artifacts").open(ID, "weights")


def test_an_open_file_survives_deletion(tmp_path: Path) -> None:
    write(tmp_path, weights=b"12345")
    artifacts = LocalArtifacts(tmp_path)
    with artifacts.open(ID, "weights") as file:
        artifacts.delete(ID)
        assert file.read() == b"12345"
    assert artifacts.manifest(ID) is None
    assert list(artifacts.ids()) == []
