"""The stand-in Hub's reading side: who am I, search, model info, file trees, files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.support.hub_repos import Missing, StoredFile
from tests.support.hub_state import MESSAGES, State, failure, is_member, the_head, the_hub, the_user, visible_repo

CHUNK = 1 << 18


async def whoami(request: Request) -> Response:
    user = the_user(request)
    if user is None:
        raise failure(401, "Invalid username or password.")
    token: dict[str, Any] = {"displayName": "token", "role": user.role}
    if user.role == "fineGrained":
        scope = {"entity": {"type": "user", "name": user.name}, "permissions": list(user.permissions)}
        token["fineGrained"] = {"global": [], "scoped": [scope]}
    orgs = [{"type": "org", "name": name} for name in user.orgs]
    return JSONResponse(
        {"type": "user", "id": user.name, "name": user.name, "fullname": user.name.title(), "orgs": orgs,
         "auth": {"type": "access_token", "accessToken": token}}
    )  # fmt: skip


async def search(request: Request) -> Response:
    """Models whose id contains every word of ``search``, sorted by ``sort``, ``limit`` a page."""
    hub, user = the_hub(request), the_user(request)
    words = request.query_params.get("search", "").lower().split()
    names = [name for name in hub.repos.names() if all(word in name.lower() for word in words)]
    shown = [name for name in names if not hub.repos.meta(name).get("private") or is_member(user, name)]
    for tag in request.query_params.getlist("filter"):
        shown = [name for name in shown if tag in _tags(hub, name)]
    sort = request.query_params.get("sort", "trendingScore")
    shown.sort(key=lambda name: hub.repos.meta(name).get(sort, 0), reverse=True)
    expand = request.query_params.getlist("expand")
    start, limit = int(request.query_params.get("cursor", 0)), int(request.query_params.get("limit", 1000))
    answers = [_described(hub, name, expand) for name in shown[start : start + limit]]
    headers = {}
    if start + limit < len(shown):
        following = request.url.include_query_params(cursor=start + limit)
        headers["Link"] = f'<{following}>; rel="next"'
    return JSONResponse(answers, headers=headers)


async def info(request: Request) -> Response:
    repo = visible_repo(request)
    revision = request.path_params.get("revision", "main")
    blobs = request.query_params.get("blobs", "").lower() in ("true", "1")
    sha, files = the_head(request, repo, revision)
    answer = _described(the_hub(request), repo, request.query_params.getlist("expand"))
    answer["sha"] = sha
    answer["siblings"] = [_sibling(file, blobs) for file in files.values()]
    return JSONResponse(answer)


def _described(hub: State, repo: str, expand: list[str]) -> dict[str, Any]:
    meta = hub.repos.meta(repo)
    full: dict[str, Any] = {
        "private": bool(meta.get("private", False)),
        "gated": meta.get("gated", False),
        "downloads": meta.get("downloads", 0),
        "likes": meta.get("likes", 0),
        "cardData": meta.get("cardData"),
        "tags": _tags(hub, repo),
        "lastModified": meta.get("lastModified", "2026-01-01T00:00:00.000Z"),
        "createdAt": "2026-01-01T00:00:00.000Z",
        "pipeline_tag": "text-generation",
        "library_name": "peft" if "peft" in _tags(hub, repo) else "transformers",
    }
    extra: dict[str, Any] = {
        "safetensors": _parameters(hub, repo) if "safetensors" in expand else None,
        "config": meta.get("config"),
        "author": repo.split("/")[0],
    }
    chosen = {key: value for key, value in (full | extra).items() if key in expand} if expand else full
    return {"_id": hashlib.sha1(repo.encode()).hexdigest()[:24], "id": repo, "modelId": repo} | {
        key: value for key, value in chosen.items() if value is not None
    }


def _tags(hub: State, repo: str) -> list[str]:
    """Those given, and the library tag that the Hub adds by the files."""
    _, files = hub.repos.head(repo)
    found = ["safetensors"] if any(name.endswith(".safetensors") for name in files) else []
    found += ["peft"] if "adapter_config.json" in files else []
    return [*found, *hub.repos.meta(repo).get("tags", [])]


def _parameters(hub: State, repo: str) -> dict[str, Any] | None:
    """Parameters by dtype, counted in the headers as the Hub does; None when a header cannot be read."""
    count: dict[str, int] = {}
    for file in hub.repos.head(repo)[1].values():
        if not file.path.endswith(".safetensors"):
            continue
        with file.source.open("rb") as content:
            length = int.from_bytes(content.read(8), "little")
            try:
                header = json.loads(content.read(min(length, 1 << 24)))
            except ValueError:
                return None
        for name, tensor in header.items():
            if name != "__metadata__":
                count[tensor["dtype"]] = count.get(tensor["dtype"], 0) + math.prod(tensor["shape"])
    return {"parameters": count, "total": sum(count.values())} if count else None


def _sibling(file: StoredFile, blobs: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        answer |= {"size": file.size, "blobId": file.oid}
        if file.sha256:
            answer["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 134}
    return answer


async def tree(request: Request) -> Response:
    repo = visible_repo(request)
    _, files = the_head(request, repo, request.path_params["revision"])
    answers = []
    for file in files.values():
        answer: dict[str, Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": file.path}
        if file.sha256:
            answer["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
        answers.append(answer)
    return JSONResponse(answers)


async def resolve(request: Request) -> Response:
    """A file's content or, for LFS files with a CDN, where to find it."""
    repo = visible_repo(request)
    hub, user = the_hub(request), the_user(request)
    commit, files = the_head(request, repo, request.path_params["revision"])
    meta = hub.repos.meta(repo)
    if meta.get("gated") and not (is_member(user, repo) or (user and user.name in meta.get("granted", []))):
        raise failure(403 if user else 401, f"Access to model {repo} is restricted.", "GatedRepo")
    path = request.path_params["path"]
    if path not in files:
        error = failure(404, MESSAGES["EntryNotFound"], "EntryNotFound")
        error.headers = dict(error.headers or {}) | {"X-Repo-Commit": commit}
        raise error
    file = files[path]
    headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"'}
    if file.sha256:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    if file.sha256 and hub.cdn:
        location = f"{hub.cdn}/cdn/{repo}/{commit}/{path}?Signature=abc"
        return Response(status_code=302, headers=headers | {"Location": location})
    return _content(request, repo, file, headers)


async def from_cdn(request: Request) -> Response:
    """Storage behind signed addresses: like S3, it refuses a request that carries another authorisation."""
    if "authorization" in request.headers or request.query_params.get("Signature") != "abc":
        raise failure(400, "Only one auth mechanism allowed")
    repo = f"{request.path_params['owner']}/{request.path_params['name']}"
    _, files = the_head(request, repo, request.path_params["commit"])
    file = files[request.path_params["path"]]
    return _content(request, repo, file, {"ETag": f'"{file.etag}"'})


def _content(request: Request, repo: str, file: StoredFile, headers: dict[str, str]) -> Response:
    try:
        source = the_hub(request).repos.open_path(repo, file)
    except Missing as missing:
        raise failure(404, MESSAGES[str(missing)], str(missing)) from None
    begin, end, status = 0, file.size, 200
    asked = request.headers.get("range", "").removeprefix("bytes=")
    if asked and request.method == "GET":
        first, _, last = asked.partition("-")
        begin = int(first)
        end = min(int(last) + 1 if last else file.size, file.size)
        if begin >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{file.size}"})
        status = 206
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
    headers |= {"Content-Length": str(end - begin), "Accept-Ranges": "bytes"}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_pieces(source, begin, end), status, headers, media_type="application/octet-stream")


async def _pieces(source: Path, begin: int, end: int) -> AsyncIterator[bytes]:
    while begin < end:
        # Opened anew for each piece: a response that is cut leaves this generator where it stands.
        with source.open("rb") as file:
            file.seek(begin)
            piece = file.read(min(CHUNK, end - begin))
        begin += len(piece)
        yield piece
