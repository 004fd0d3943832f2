"""Drafts kept on the server while the builder is used: which draft a page holds, and writing it down after an edit."""

from __future__ import annotations

from app.drafts.store import Drafts, Hold, Saved
from app.recipe.naming import title_of
from app.web.pages.draft import Draft, from_text
from app.web.pages.posted import Fields

_MOST = 10**9
_LOOKING = "look"
"""The action of opening a recipe without keeping it."""


def held(fields: Fields, writer: str) -> Hold:
    """What a posted page says that it holds. ``writer`` names the page."""
    version = fields.get("draft_version", "")
    known = min(int(version), _MOST) if version.isascii() and version.isdigit() and len(version) < 12 else 0
    return Hold(fields.get("draft", "")[:16], known, writer)


def keep(drafts: Drafts, draft: Draft, fields: Fields, writer: str, fork: str | None) -> Saved:
    """Write the draft down. An empty one that has no place yet gets none. ``fork``: the shared recipe it comes from."""
    hold = held(fields, writer)
    if fields.get("action") == _LOOKING or not (draft.text.strip() or hold.id):
        return Saved(hold.id, hold.version)
    return drafts.save(hold, draft.text, _title(draft), fork)


def keep_anew(drafts: Drafts, text: str, fork: str | None = None) -> str:
    """The address of a new draft with this text."""
    draft = from_text(text)
    return f"/?draft={drafts.save(Hold('', 0, ''), draft.text, _title(draft), fork).id}"


def _title(draft: Draft) -> str:
    return title_of(draft.recipe) if draft.recipe else "A recipe that cannot be read"
