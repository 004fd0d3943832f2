"""The Hub, as the rest of Weightloom sees it: search, facts of a repository, who a token belongs to, files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from app.hub.cache import HubCache, safe_file_name
from app.hub.errors import About, unreachable
from app.hub.fading import Fading
from app.hub.ranges import read_range
from app.hub.transport import FETCHING, LOOKING, TYPING, Patience, Transport, nothing
from app.planning.facts import FileFacts
from app.recipe.references import COMMIT, is_hub_id

if TYPE_CHECKING:
    from app.hub.ranged_file import RangedFile

_EXPAND = ("downloads", "likes", "safetensors", "gated", "private", "lastModified", "tags", "library_name")
_ADAPTERS = "peft"
"""The library by which the Hub knows adapters: it sets the word where an adapter's settings lie in a repository."""
_ON_A_MODEL = "base_model:adapter:"


@dataclass(frozen=True, slots=True)
class ModelHit:
    """A model found by a search. ``updated`` is ISO 8601; None stands for what is not known. ``adapter``: it is known
    to be an adapter, not a model by itself."""

    id: str
    downloads: int | None = None
    likes: int | None = None
    parameters: int | None = None
    dtype: str | None = None
    licence: str | None = None
    gated: bool = False
    private: bool = False
    updated: str | None = None
    adapter: bool = False


@dataclass(frozen=True, slots=True)
class RepoInfo:
    """A repository at one commit (40 hex)."""

    id: str
    commit: str
    files: tuple[FileFacts, ...]
    private: bool = False
    gated: bool = False
    licence: str | None = None
    base_models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    downloads: int | None = None
    cached: bool = False
    """Made of what is in the cache, because the Hub could not be asked: of an earlier day, and perhaps not complete."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who a token belongs to. ``namespaces``: the account's own name and its organisations."""

    name: str
    can_write: bool
    namespaces: tuple[str, ...] = ()


class HubClient:
    """One endpoint and the cache folder. Tokens are given with each call and never kept. Usable from many threads."""

    def __init__(self, endpoint: str, cache_dir: Path | None = None) -> None:
        self.transport = Transport(endpoint)
        self.cache = HubCache(cache_dir)
        self.typing, self.looking, self.fetching = TYPING, LOOKING, FETCHING
        self._searches: Fading[tuple[ModelHit, ...]] = Fading(seconds=60, most=256)

    @property
    def endpoint(self) -> str:
        return self.transport.endpoint

    def close(self) -> None:
        self.transport.close()

    def search(
        self, query: str, limit: int = 8, token: str | None = None, *, adapters: bool | None = None
    ) -> tuple[ModelHit, ...]:
        """Models with safetensors weights whose name fits, most downloaded first. Raises Refused within seconds.

        ``adapters``: only those that the Hub lists as adapters, or only the others.
        """
        query = " ".join(query.split())[:200]
        asked = limit * 2 if adapters is False else limit  # the Hub cannot be asked for what is no adapter
        params = [("search", query), ("limit", str(asked)), ("sort", "downloads"), ("filter", "safetensors")]
        params += [("filter", _ADAPTERS)] if adapters else []
        params += [("expand", name) for name in _EXPAND]

        def ask() -> tuple[ModelHit, ...]:
            found = self._ask("/api/models", About(self.endpoint, signed=bool(token)), token, params, list, self.typing)
            hits = [_hit(model) for model in found if isinstance(model, dict) and "id" in model]
            return tuple(hit for hit in hits if adapters is None or hit.adapter == adapters)[:limit]

        return self._searches.get((query.lower(), limit, token_key(token), adapters), ask)

    def info(self, repo: str, revision: str | None = None, token: str | None = None) -> RepoInfo:
        """A repository's commit and files at a branch, tag or commit (None: main). Raises Refused."""
        about = About(self.endpoint, repo, revision, signed=bool(token))
        path = f"/api/models/{quote(repo)}/revision/{quote(revision or 'main', safe='')}"
        told = self._ask(path, about, token, [("blobs", "true")], dict, self.looking)
        try:
            return _repo_info(told)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise unreachable(about, "gave an answer that cannot be read") from None

    def cached_info(self, repo: str, revision: str | None = None) -> RepoInfo | None:
        """What the cache knows of a repository; None when it holds no config and weights of it."""
        commit = self.cache.commit_of(repo, revision)
        files = self.cache.files(repo, commit) if commit is not None else ()
        whole = any(one.name.endswith(".safetensors") for one in files)
        return RepoInfo(repo, commit, files, cached=True) if commit is not None and whole else None

    def whoami(self, token: str) -> Account:
        """Whose token it is and whether it may write. Raises Refused (``token-refused``...)."""
        told = self._ask("/api/whoami-v2", About(self.endpoint, signed=True), token, [], dict, self.looking)
        name = str(told.get("name", ""))
        orgs = [str(org["name"]) for org in told.get("orgs") or [] if isinstance(org, dict) and "name" in org]
        return Account(name, _can_write(told), (name, *orgs))

    def read_range(self, repo: str, commit: str, file: str, begin: int, end: int, token: str | None = None) -> bytes:
        """Exactly the bytes ``[begin, end)`` of a file, over the network. Raises Refused."""
        return read_range(self.transport, repo, commit, file, begin, end, token, self.looking)

    def download(
        self,
        repo: str,
        commit: str,
        file: FileFacts,
        token: str | None = None,
        *,
        on_bytes: Callable[[int], None] = nothing,
        check: Callable[[], None] = nothing,
        on_wait: Callable[[float, str], None] = nothing,
        branch: str | None = None,
    ) -> Path:
        """A file in the cache, fetched if it is not there; see ``app.hub.download``."""
        from app.hub.download import download

        return download(
            self.transport, self.cache, repo, commit, file, token,
            on_bytes=on_bytes, check=check, on_wait=on_wait, branch=branch, patience=self.fetching,
        )  # fmt: skip

    def ranged(self, repo: str, commit: str, file: FileFacts, token: str | None = None) -> RangedFile:
        """A file to be read in parts, as a merge needs them; see ``app.hub.ranged_file``."""
        from app.hub.ranged_file import RangedFile

        return RangedFile(self.transport, repo, commit, file, token, self.fetching)

    def _ask(
        self,
        path: str,
        about: About,
        token: str | None,
        params: list[tuple[str, str]],
        kind: type[Any],
        patience: Patience,
    ) -> Any:
        told = self.transport.get_json(path, about, token, patience, params=params)
        if not isinstance(told, kind):
            raise unreachable(about, "gave an answer that cannot be read")
        return told


def token_key(token: str | None) -> str:
    """Stands for a token in the key of a cache, without being one."""
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


def _hit(model: dict[str, Any]) -> ModelHit:
    weights = model.get("safetensors")
    by_dtype = weights.get("parameters") if isinstance(weights, dict) else None
    by_dtype = by_dtype if isinstance(by_dtype, dict) else {}
    return ModelHit(
        id=str(model["id"]),
        downloads=_count(model.get("downloads")),
        likes=_count(model.get("likes")),
        parameters=_count(weights.get("total")) if isinstance(weights, dict) else None,
        dtype=max(by_dtype, key=lambda dtype: _count(by_dtype[dtype]) or 0, default=None),
        licence=_licence(model),
        gated=bool(model.get("gated")),
        private=bool(model.get("private")),
        updated=str(model["lastModified"]) if model.get("lastModified") else None,
        adapter=_is_adapter(model),
    )


def _repo_info(told: dict[str, Any]) -> RepoInfo:
    name, commit = str(told["id"]), str(told["sha"])
    if not is_hub_id(name) or not COMMIT.fullmatch(commit):
        raise ValueError(name)
    return RepoInfo(
        id=name,
        commit=commit,
        files=tuple(_file(one) for one in told["siblings"] if safe_file_name(one["rfilename"])),
        private=bool(told.get("private")),
        gated=bool(told.get("gated")),
        licence=_licence(told),
        base_models=_base_models(told),
        tags=tuple(str(tag) for tag in told.get("tags") or []),
        downloads=_count(told.get("downloads")),
    )


def _file(told: dict[str, Any]) -> FileFacts:
    lfs = told.get("lfs") or {}
    size = int(lfs["size"] if lfs else told["size"])
    return FileFacts(str(told["rfilename"]), size, lfs.get("sha256"), told.get("blobId"))


def _licence(told: dict[str, Any]) -> str | None:
    """From the card's metadata, or the tags that the Hub makes of it."""
    card = told.get("cardData")
    card = card if isinstance(card, dict) else {}
    named = card.get("license_name") if card.get("license") == "other" else card.get("license")
    tagged = next((tag for tag in _tags(told) if tag.startswith("license:")), "").removeprefix("license:")
    return named if isinstance(named, str) and named else tagged or None


def _base_models(told: dict[str, Any]) -> tuple[str, ...]:
    """Tags read ``base_model:owner/name`` and, once more, ``base_model:finetune:owner/name``."""
    tagged = [tag.removeprefix("base_model:") for tag in _tags(told) if tag.startswith("base_model:")]
    return tuple(dict.fromkeys(name for name in tagged if is_hub_id(name)))


def _is_adapter(told: dict[str, Any]) -> bool:
    tags = _tags(told)
    return told.get("library_name") == _ADAPTERS or any(one == _ADAPTERS or one.startswith(_ON_A_MODEL) for one in tags)


def _tags(told: dict[str, Any]) -> list[str]:
    return [tag for tag in told.get("tags") or [] if isinstance(tag, str)]


def _can_write(told: dict[str, Any]) -> bool:
    """A token with a role says so; fine-grained ones list permissions; others (OAuth) are found out by trying."""
    auth = told.get("auth")
    token = auth.get("accessToken") if isinstance(auth, dict) else None
    if not isinstance(token, dict) or "role" not in token:
        return True
    if token["role"] != "fineGrained":
        return bool(token["role"] == "write")
    fine = token.get("fineGrained")
    scoped = fine.get("scoped") if isinstance(fine, dict) else None
    return any("repo.write" in (scope.get("permissions") or []) for scope in scoped or [] if isinstance(scope, dict))


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
