"""What a browser posts, as plain text fields."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

Fields = dict[str, str]


async def _fields(request: Request) -> Fields:
    """The fields of a posted form; of several with one name the last counts, as a ticked box after its hidden "no"."""
    async with request.form(max_fields=2000) as form:
        return {name: value for name, value in form.multi_items() if isinstance(value, str)}


FieldsDep = Annotated[Fields, Depends(_fields)]
