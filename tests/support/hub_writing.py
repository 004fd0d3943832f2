"""The stand-in Hub's writing side: new repositories, LFS uploads, commits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support.hub_repos import LFS_NAMES, LFS_SIZE
from tests.support.hub_state import State, failure, the_head, the_hub, the_user, writable_repo


async def validate_yaml(request: Request) -> Response:
    content = (await request.json())["content"]
    parts = content.split("---\n")
    if not content.startswith("---\n") or len(parts) < 3:
        return JSONResponse({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
    try:
        yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
    return JSONResponse({"errors": [], "warnings": []})


async def create_repo(request: Request) -> Response:
    user, hub = the_user(request), the_hub(request)
    if user is None:
        raise failure(401, "Invalid username or password.")
    asked = await request.json()
    owner = asked.get("organization") or user.name
    repo = f"{owner}/{asked['name']}"
    if not user.may_write or owner not in (user.name, *user.orgs):
        raise failure(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
    answer = {"url": f"{hub.endpoint}/{repo}", "id": repo}
    if repo in hub.repos.names():
        return JSONResponse(answer | {"error": "You already created this model repo"}, 409)
    hub.repos.create(repo, private=asked.get("visibility") == "private")
    return JSONResponse(answer)


async def preupload(request: Request) -> Response:
    repo = writable_repo(request)
    _, files = the_head(request, repo, request.path_params["revision"])
    answers = []
    for file in (await request.json())["files"]:
        lfs = LFS_NAMES.fullmatch(file["path"]) is not None or file["size"] >= LFS_SIZE
        oid = files[file["path"]].etag if file["path"] in files else None
        answers.append(
            {"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": oid}
        )
    return JSONResponse({"files": answers})


async def lfs_batch(request: Request) -> Response:
    repo, hub = writable_repo(request), the_hub(request)
    objects = []
    for wanted in (await request.json())["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if not hub.repos.waiting(repo, wanted["oid"]).is_file():
            answer["actions"] = {"upload": {"href": f"{hub.endpoint}/lfs/{repo}/{wanted['oid']}?Signature=abc"}}
        objects.append(answer)
    return JSONResponse({"transfer": "basic", "objects": objects})


async def lfs_put(request: Request) -> Response:
    """The upload itself, to a signed address. Kept only when the bytes are what their name says."""
    if "authorization" in request.headers or request.query_params.get("Signature") != "abc":
        raise failure(400, "Only one auth mechanism allowed")
    repo = f"{request.path_params['owner']}/{request.path_params['name']}"
    target = the_hub(request).repos.waiting(repo, request.path_params["oid"])
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    digest = hashlib.sha256()
    with partial.open("wb") as file:
        async for piece in request.stream():
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != target.name:
        raise failure(400, "The content does not have this sha256")
    partial.rename(target)
    return Response()


async def commit(request: Request) -> Response:
    repo, hub = writable_repo(request), the_hub(request)
    branch = request.path_params["revision"]
    header: dict[str, Any] = {}
    changes: dict[str, bytes | Path | None] = {}
    for line in (await request.body()).splitlines():
        item = json.loads(line)
        value = item["value"]
        if item["key"] == "header":
            header = value
        else:
            changes[value["path"]] = _change(hub, repo, item["key"], value)
    before, _ = the_head(request, repo, branch)
    if header.get("parentCommit") not in (None, before):
        raise failure(412, "A commit has happened since. Please refresh and try again.")
    sha = hub.repos.commit(repo, changes, branch)
    return JSONResponse(
        {"commitUrl": f"{hub.endpoint}/{repo}/commit/{sha}", "commitOid": sha, "success": True, "hookOutput": ""}
    )


def _change(hub: State, repo: str, key: str, value: dict[str, Any]) -> bytes | Path | None:
    if key == "file":
        try:
            return base64.b64decode(value["content"], validate=True)
        except binascii.Error:
            raise failure(400, "The content is not base64") from None
    if key == "lfsFile":
        stored = hub.repos.waiting(repo, value["oid"])
        if not stored.is_file():
            raise failure(400, f"LFS object {value['oid']} was never uploaded")
        return stored
    if key == "deletedFile":
        return None
    raise failure(400, f"Unknown operation {key}")
