"""What the Hub's answers mean to a person: HTTP trouble told as findings, and whether trying again may help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from app.recipe.findings import Refused, refuse

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 (the Hub's words for it)
_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)')


@dataclass(frozen=True, slots=True)
class About:
    """What a request was about, for the words of an error. ``signed``: it carried somebody's token."""

    endpoint: str
    repo: str = ""
    revision: str | None = None
    file: str = ""
    signed: bool = False

    @property
    def what(self) -> str:
        """The model, with its revision if one was named."""
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"

    @property
    def page(self) -> str:
        return f"{self.endpoint}/{self.repo}"


class Trouble(Exception):
    """A request failed. ``again``: the same request may succeed later; ``wait``: seconds the Hub asks to wait."""

    def __init__(self, refused: Refused, *, again: bool = False, wait: float | None = None) -> None:
        self.refused, self.again, self.wait = refused, again, wait
        super().__init__(str(refused))


def trouble_of(status: int, headers: Mapping[str, str], about: About) -> Trouble:
    """What an answer that is not a success means. ``headers`` are case-insensitive.

    Error codes and messages are those of the Hub (``X-Error-Code``); it answers 401 both for a bad token and, to
    somebody without one, for a repository that does not exist or is private.
    """
    if status in TRANSIENT:
        return _busy(status, headers, about)
    code = headers.get("X-Error-Code", "")
    if headers.get("X-Error-Message", "").startswith(_BAD_TOKEN):
        return Trouble(token_refused(about))
    if code == "GatedRepo":
        return Trouble(gated(about))
    if code == "RevisionNotFound":
        return Trouble(revision_not_found(about))
    if code == "EntryNotFound":
        return Trouble(_file_not_found(about))
    if status == 403 or (status == 401 and about.signed and code != "RepoNotFound"):
        return Trouble(token_refused(about))
    if about.repo and status in (401, 404):
        return Trouble(repo_not_found(about))
    return Trouble(unreachable(about, f"answered with an error ({status})"))


_SIGNED = "run weightloom merge with your Hub token as HF_TOKEN, or open a folder that holds its files"


def unreachable(about: About, what: str) -> Refused:
    advice = "Check the network and try again. Models on disk work without the Hub."
    return refuse("hub-unreachable", about.what, f"The Hub at {about.endpoint} {what}.", advice)


def repo_not_found(about: About) -> Refused:
    advice = "Check the spelling." if about.signed else f"Check the spelling; for a private model, {_SIGNED}."
    return refuse(
        "repo-not-found", about.what, f"There is no model {about.repo} on the Hub, or it is private.", advice
    )  # fmt: skip


def revision_not_found(about: About) -> Refused:
    return refuse(
        "revision-not-found", about.what, f'{about.repo} has no branch, tag or commit "{about.revision or "main"}".',
        f"See {about.page}/commits/main, or leave the revision out for the newest.",
    )  # fmt: skip


def gated(about: About) -> Refused:
    first = "" if about.signed else f"With access, {_SIGNED}. "
    return refuse(
        "gated", about.what, f"{about.repo} is gated: its authors decide who may read it.",
        f"{first}Access is asked for on the model's page: {about.page}",
    )  # fmt: skip


def token_refused(about: About) -> Refused:
    return refuse(
        "token-refused", about.what, "The Hub does not accept the token for this.",
        "It may be mistyped, expired, or lack the right: check it in your Hub account under Access Tokens.",
    )  # fmt: skip


def rate_limited(about: About, seconds: float | None) -> Refused:
    when = f"in {ceil(seconds)} seconds" if seconds is not None else "in a few minutes"
    advice = f"Try again {when}." if about.signed else f"Try again {when}; with a Hub token the limit is higher."
    return refuse("rate-limited", about.what, "The Hub asks for a pause: too many requests.", advice)


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds by ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers) or ``Retry-After`` (RFC 9110 §10.2.3)."""
    from email.utils import parsedate_to_datetime

    limit = _LIMIT.search(headers.get("RateLimit", ""))
    if limit and limit[1] == "0":
        return float(limit[2])
    told = headers.get("Retry-After", "").strip()
    if told.isdecimal():
        return float(told)
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _busy(status: int, headers: Mapping[str, str], about: About) -> Trouble:
    wait = asked_to_wait(headers)
    if status == 429:
        return Trouble(rate_limited(about, wait), again=True, wait=wait)
    return Trouble(unreachable(about, f"is in trouble (error {status})"), again=True, wait=wait)


def _file_not_found(about: About) -> Refused:
    return refuse(
        "file-not-found", about.what, f"{about.what} has no file {about.file}.", "The model changed: check again."
    )
