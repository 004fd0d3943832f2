"""Reading pages as a browser would, as far as these tests need it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: tuple[str, ...] = field(default=())
    """The ids of the elements around it."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        ids = tuple(one.attributes["id"] for one in self._open if "id" in one.attributes)
        element = Element(tag, {name: value or "" for name, value in attrs}, inside=ids)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            if self._open.pop().tag == tag:
                return

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def elements(page: str, tag: str | None = None, **attributes: str) -> list[Element]:
    """Every element of a page with this tag and these attributes."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    wanted = attributes.items()
    return [
        one
        for one in reader.elements
        if (tag is None or one.tag == tag) and all(one.attributes.get(name) == value for name, value in wanted)
    ]


def one(page: str, tag: str | None = None, **attributes: str) -> Element:
    found = elements(page, tag, **attributes)
    assert len(found) == 1, f"{len(found)} elements {tag} {attributes}"
    return found[0]


def form_of(page: str, form_id: str) -> dict[str, str]:
    """What a browser without scripts would post of a form, without pressing a named button."""
    fields: dict[str, str] = {}
    select = ""
    for element in elements(page):
        if form_id not in element.inside:
            continue
        name = element.attributes.get("name", "")
        kind = element.attributes.get("type", "text")
        if element.tag == "select":
            select = name
        elif element.tag == "option" and ("selected" in element.attributes or select not in fields):
            fields[select] = element.attributes.get("value", element.text)
        elif element.tag == "textarea" and name:
            fields[name] = element.text
        elif element.tag == "input" and name and (kind not in ("checkbox", "radio") or "checked" in element.attributes):
            fields[name] = element.attributes.get("value", "on" if kind in ("checkbox", "radio") else "")
    return fields


def executable(page: str | list[Element]) -> list[str]:
    """Whatever in a page could run a script or set a style, but for this server's own files."""
    found = []
    for element in elements(page) if isinstance(page, str) else page:
        if element.tag == "script" and not element.attributes.get("src", "").startswith("/static/"):
            found.append(f"<script {element.attributes}> {element.text[:60]}")
        if element.tag in ("style", "iframe", "object", "embed", "base", "foreignobject", "animate", "set"):
            found.append(f"<{element.tag}>")
        for name, value in element.attributes.items():
            plain = value.strip().lower()
            if name.startswith(("on", "hx-on", "data-hx")) or name in ("style", "srcdoc", "hx-live"):
                found.append(f"{element.tag} {name}={value[:60]}")
            if name in ("href", "src", "action", "formaction", "xlink:href") and plain.startswith(
                ("javascript:", "data:", "vbscript:")
            ):
                found.append(f"{element.tag} {name}={value[:60]}")
            if name.startswith("hx-") and plain.startswith(("js:", "javascript:")):
                found.append(f"{element.tag} {name}={value[:60]}")
    return found
