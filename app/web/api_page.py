"""``/api``: the API to read, made from its own schema (``/openapi.json``); no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from app.web.dependencies import TemplatesDep

router = APIRouter(include_in_schema=False)

Schema = Mapping[str, Any]
_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Field:
    """One thing to send. ``place``: ``path``, ``query``, ``header`` or ``body``."""

    name: str
    place: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One address and method."""

    method: str
    path: str
    summary: str
    description: str
    fields: tuple[Field, ...]
    answers: tuple[tuple[str, str], ...]
    command: str

    @property
    def anchor(self) -> str:
        return f"{self.method.lower()}{self.path.replace('/', '-').replace('{', '').replace('}', '').replace(':', '-')}"


@router.get("/api", response_class=HTMLResponse)
def api_page(request: Request, templates: TemplatesDep) -> HTMLResponse:
    """The whole API on one page."""
    groups: dict[str, list[Operation]] = {}
    for tag, operation in operations(request.app.openapi(), str(request.base_url).rstrip("/")):
        groups.setdefault(tag, []).append(operation)
    return templates.page(request, "pages/api.html", groups=groups)


@router.get("/docs")
def docs() -> RedirectResponse:
    """Where FastAPI applications usually have this page."""
    return RedirectResponse("/api", 307)


def operations(schema: Schema, base_url: str) -> Iterator[tuple[str, Operation]]:
    """Every operation of an OpenAPI schema with its tag, in the order of the routes."""
    for path, methods in schema["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield methods[method].get("tags", ["other"])[0], _operation(schema, base_url, path, method)


def _operation(schema: Schema, base_url: str, path: str, method: str) -> Operation:
    told = schema["paths"][path][method]
    fields = (*_parameters(schema, told), *_body_fields(schema, told))
    return Operation(
        method=method.upper(),
        path=path,
        summary=told.get("summary", ""),
        description=told.get("description", "").replace("``", ""),
        fields=fields,
        answers=tuple(_answers(told)),
        command=_command(told, method.upper(), base_url + path, fields),
    )


def _parameters(schema: Schema, told: Schema) -> Iterator[Field]:
    for one in told.get("parameters", ()):
        kind = _kind(schema, one.get("schema", {}))
        yield Field(one["name"], one["in"], kind, one.get("required", False), one.get("description", ""))


def _body_fields(schema: Schema, told: Schema) -> Iterator[Field]:
    for media_type, content in told.get("requestBody", {}).get("content", {}).items():
        body = _resolved(schema, content.get("schema", {}))
        if "properties" not in body:
            yield Field("body", "body", media_type, True, body.get("description", ""))
        for name, one in body.get("properties", {}).items():
            required = name in body.get("required", ())
            yield Field(name, "body", _kind(schema, one), required, one.get("description", ""))


def _answers(told: Schema) -> Iterator[tuple[str, str]]:
    for status, answer in sorted(told.get("responses", {}).items()):
        text = answer.get("description", "")
        yield (
            status,
            HTTPStatus(int(status)).phrase if text in ("", "Successful Response", "Validation Error") else text,
        )


def _resolved(schema: Schema, one: Schema) -> Schema:
    name = one.get("$ref", "").rpartition("/")[2]
    found: Schema = schema["components"]["schemas"][name] if name else one
    return found


def _kind(schema: Schema, one: Schema) -> str:
    """``integer``, ``string or nothing``, ``one of queued, running``..."""
    one = _resolved(schema, one)
    if "anyOf" in one:
        kinds = [_kind(schema, piece) for piece in one["anyOf"]]
        return " or ".join("nothing" if kind == "null" else kind for kind in kinds)
    if "enum" in one:
        return "one of " + ", ".join(map(str, one["enum"]))
    if one.get("type") == "array":
        return f"list of {_kind(schema, one.get('items', {}))}"
    return str(one.get("type", "any"))


def _command(told: Schema, method: str, url: str, fields: tuple[Field, ...]) -> str:
    """A command line that does it, to copy and fill in."""
    query = "&".join(f"{one.name}=…" for one in fields if one.place == "query" and one.required)
    command = f"curl {'' if method == 'GET' else f'-X {method} '}'{url}{'?' + query if query else ''}'"
    media_types = list(told.get("requestBody", {}).get("content", {}))
    if media_types == ["application/json"]:
        body = ", ".join(f'"{one.name}": …' for one in fields if one.place == "body")
        return f"{command} \\\n  -H 'Content-Type: application/json' -d '{{{body}}}'"
    if media_types:
        return f"{command} \\\n  -H 'Content-Type: {media_types[0]}' --data-binary @recipe.yml"
    return command
