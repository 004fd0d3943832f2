"""What the stand-in Hub's handlers share: repositories, tokens, and who may see or change what."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tests.support.hub_repos import Missing, Repos, StoredFile

UNKNOWN_TOKEN = "Invalid credentials in Authorization header"
MESSAGES = {
    "RepoNotFound": "Repository not found",
    "RevisionNotFound": "Invalid rev id",
    "EntryNotFound": "Entry not found",
}


@dataclass(frozen=True)
class User:
    """Who a token belongs to. ``role`` is ``read``, ``write`` or ``fineGrained`` (then ``permissions`` count)."""

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()

    @property
    def may_write(self) -> bool:
        return self.role == "write" or "repo.write" in self.permissions


@dataclass
class State:
    """What the handlers share. ``cdn``: LFS files are answered by a redirect to another host, as on the Hub."""

    repos: Repos
    tokens: dict[str, User] = field(default_factory=dict)
    endpoint: str = ""
    cdn: str | None = None


def failure(status: int, message: str, code: str | None = None) -> HTTPException:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return HTTPException(status, message, headers)


def the_hub(request: Request) -> State:
    hub: State = request.app.state.hub
    return hub


def the_user(request: Request) -> User | None:
    sent = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not sent:
        return None
    if sent not in the_hub(request).tokens:
        raise failure(401, UNKNOWN_TOKEN)
    return the_hub(request).tokens[sent]


def is_member(user: User | None, repo: str) -> bool:
    return user is not None and repo.split("/")[0] in (user.name, *user.orgs)


def visible_repo(request: Request) -> str:
    """The repository asked for, when this user may know of it."""
    repo = f"{request.path_params['owner']}/{request.path_params['name']}"
    user, repos = the_user(request), the_hub(request).repos
    if repo not in repos.names() or (repos.meta(repo).get("private") and not is_member(user, repo)):
        raise failure(404 if user else 401, MESSAGES["RepoNotFound"], "RepoNotFound")
    return repo


def writable_repo(request: Request) -> str:
    repo = visible_repo(request)
    user = the_user(request)
    if user is None:
        raise failure(401, "Invalid username or password.")
    if not (user.may_write and is_member(user, repo)):
        raise failure(403, "You don't have the required permissions to perform this action")
    return repo


def the_head(request: Request, repo: str, revision: str) -> tuple[str, dict[str, StoredFile]]:
    try:
        return the_hub(request).repos.head(repo, revision)
    except Missing as missing:
        code = str(missing)
        raise failure(404, MESSAGES[code], code) from None
