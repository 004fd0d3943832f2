"""What people type or paste where a model is asked for."""

from __future__ import annotations

from app.recipe.findings import Refused, refuse
from app.recipe.numbers import with_points
from app.recipe.references import is_hub_id, parse_reference
from app.recipe.schema import ModelRef


def typed_reference(text: str) -> ModelRef:
    """A Hub id, a local model, or the address of a model's page on the Hub. Raises Refused for anything else: what
    happens to lie in this server's folders is never meant."""
    ref = parse_reference(_without_address(text.strip()), "add")
    for one in (ref, ref.adapter):
        if one is not None and not one.is_local and not is_hub_id(one.name):
            raise refuse(
                "bad-reference", "add", f'"{one.name[:60]}" is not a model reference.',
                "Pick one of the names shown while you type, or write a Hub id (owner/model) or local:root/folder.",
            )  # fmt: skip
    return ref


def typed_number(text: str, where: str) -> float:
    """With a decimal point or comma. Raises Refused."""
    try:
        return float(with_points(text))
    except ValueError:
        raise refuse("not-a-number", where, f'"{text[:40]}" is not a number.', "Write it like 0.5.") from None


def typed_whole(text: str, where: str) -> int:
    """Raises Refused."""
    if not text.isascii() or not text.isdecimal():
        raise refuse("not-a-number", where, f'"{text[:40]}" is not a whole number.', "Write it like 16.")
    return int(text)


def exact_reference(text: str) -> str:
    """The reference that a text is; empty when it is only words to search for."""
    try:
        return str(typed_reference(text)) if "/" in text else ""
    except Refused:
        return ""


def _without_address(text: str) -> str:
    """``https://host/owner/model/tree/rev`` -> ``owner/model@rev``."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("http", "https"):
        return text
    parts = rest.partition("?")[0].partition("#")[0].rstrip("/").split("/")[1:]
    revision = f"@{parts[3]}" if len(parts) > 3 and parts[2] in ("tree", "blob") else ""
    return "/".join(parts[:2]) + revision if len(parts) >= 2 else text
