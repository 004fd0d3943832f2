"""The static files: vendored ones are what they claim to be, own ones stay within their budget."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.preflight import preflight
from app.settings import ROOT
from tests.web.pages.html import elements

STATIC = ROOT / "static"
VENDORED = (STATIC / "vendor", ROOT / "tests/browser/vendor")
KIB = 1024
RECIPE = "merge_method: linear\nmodels: [{model: loom/code, parameters: {weight: 1}}]"


def vendor_list(folder: Path) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads((folder / "VENDOR.json").read_text())
    return listed


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_vendored_files_are_listed_and_unchanged(folder: Path) -> None:
    listed = {one["file"]: one for one in vendor_list(folder)}
    there = {path.name for path in folder.iterdir() if path.is_file() and path.suffix not in (".json", ".txt")}
    assert set(listed) == there
    for name, one in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == one["sha256"], name
        assert one["package"] and one["version"] and one["source"] and one["licence"]


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    there = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "vendor/lucide-sprite.svg").read_text()))
    sources = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
    used = {name for text in sources for name in re.findall(r"\bicon\('([\w-]+)'", text)}
    used |= {name for text in sources for name in re.findall(r"\bempty\('([\w-]+)'", text)}
    assert used
    assert used <= there


def files_of(page: str, *closed: str) -> dict[str, int]:
    """Our own style sheets and scripts that a page can come to load, by name: size in bytes. Scripts that others import
    and what is loaded with an element (``data-script``, ``data-sheet``) count; vendored files do not, nor do those of
    elements in panels that stay ``closed`` or that wait to be used (``data-awaits``): they come when somebody opens
    them. Sheets for other media than a screen do not either: nothing waits for them."""
    sheets = [one.attributes for one in elements(page, "link") if one.attributes.get("rel") == "stylesheet"]
    asked = [one["href"] for one in sheets if "media" not in one]
    asked += [one.attributes["src"] for one in elements(page, "script") if "/js/" in one.attributes["src"]]
    asked += [
        one.attributes[name]
        for one in elements(page)
        for name in ("data-script", "data-sheet")
        if name in one.attributes and "data-awaits" not in one.attributes and not set(closed) & set(one.inside)
    ]
    sizes = {}
    while asked:
        name = asked.pop().partition("?")[0].removeprefix("/static/")
        if name in sizes:
            continue
        text = (STATIC / name).read_text()
        sizes[name] = len(text.encode())
        asked += [f"js/{one}" for one in re.findall(r'(?:from|import|import\() ?"\./([\w-]+\.js)"', text)]
    return sizes


def assert_small(sizes: dict[str, int]) -> None:
    assert len(sizes) > 5
    for kind, most in ((".css", 25 * KIB), (".js", 40 * KIB)):
        assert sum(size for name, size in sizes.items() if name.endswith(kind)) <= most, sizes


@pytest.mark.parametrize("address", ["/", "/jobs", "/models", "/recipes", "/api", "/methods", "/guide", "/mixtures"])
def test_style_sheets_and_scripts_of_a_page_stay_small(client: TestClient, address: str) -> None:
    assert_small(files_of(client.get(address).text))


def test_style_sheets_and_scripts_of_the_builder_stay_small(online: TestClient) -> None:
    sizes = files_of(online.post("/build", data={"recipe": RECIPE, "action": "import"}).text)
    assert "js/curve-editor.js" in sizes
    assert not {"js/stack-editor.js", "css/stack.css"} & set(sizes)
    assert_small(sizes)


def test_what_waits_to_be_used_is_small_too(client: TestClient) -> None:
    waiting = [one for one in elements(client.get("/").text) if "data-awaits" in one.attributes]
    assert sorted(one.tag for one in waiting) == ["file-import", "model-picker"]
    names = [one.attributes[name] for one in waiting for name in ("data-script", "data-sheet")]
    files = [STATIC / name.partition("?")[0].removeprefix("/static/") for name in names]
    assert sum(file.stat().st_size for file in files) <= 8 * KIB


def test_style_sheets_and_scripts_of_the_stack_stay_small(online: TestClient) -> None:
    text = "merge_method: passthrough\nslices:\n- sources: [{model: loom/code, layer_range: [0, 4]}]\n"
    sizes = files_of(online.post("/build", data={"recipe": text, "action": "import"}).text)
    assert {"js/stack-editor.js", "css/stack.css"} < set(sizes)
    assert not {"js/curve-editor.js", "css/loom.css"} & set(sizes)
    assert_small(sizes)


@pytest.mark.parametrize("first", ["", f"name: first\n{RECIPE}\n---\n"], ids=["one document", "several"])
def test_a_stack_with_a_curve_loads_the_editor_of_the_view_that_is_open(online: TestClient, first: str) -> None:
    model = "first" if first else "loom/code"
    sources = f"[{{model: loom/base, layer_range: [0, 4]}}, {{model: {model}, layer_range: [0, 4]}}]"
    text = f"merge_method: slerp\nbase_model: loom/base\nparameters: {{t: 0.5}}\nslices: [{{sources: {sources}}}]\n"
    page = online.post("/build", data={"recipe": first + text, "action": "import"}).text
    assert ("css/documents.css" in files_of(page)) == bool(first)
    assert {"js/stack-editor.js", "js/curve-editor.js"} < set(files_of(page))
    for closed in ("panel-blend", "panel-stack"):
        scripts = {name: size for name, size in files_of(page, closed).items() if name.endswith(".js")}
        assert sum(scripts.values()) <= 40 * KIB, scripts
    assert_small(files_of(page, "panel-blend"))


def test_the_first_page_stays_small(client: TestClient) -> None:
    """Everything that is fetched before compression, but for the font."""
    page = client.get("/")
    addresses = {element.attributes["src"] for element in elements(page.text, "script")}
    addresses |= {
        link.attributes["href"] for link in elements(page.text, "link") if link.attributes["rel"] != "preload"
    }
    addresses |= {use.attributes["href"].partition("#")[0] for use in elements(page.text, "use")}
    sizes = {address: len(client.get(address).content) for address in addresses}
    assert len(sizes) > 10
    assert len(page.content) + sum(sizes.values()) <= 100 * KIB, sizes


def test_the_font_has_one_address(client: TestClient) -> None:
    """The one that the page fetches early is the one that the style sheet asks for."""
    early = [link.attributes["href"] for link in elements(client.get("/").text, "link", rel="preload")]
    asked = re.findall(r'url\("\.\./(vendor/[^"]+woff2[^"]*)"\)', (STATIC / "css/tokens.css").read_text())
    assert early == [f"/static/{one}" for one in asked]


def test_scripts_evaluate_nothing_and_write_no_style() -> None:
    for path in (STATIC / "js").glob("*.js"):
        text = path.read_text()
        for word in (
            "eval(",
            "new Function",
            "document.write",
            ".style.",
            "setAttribute('style",
            'setAttribute("style',
        ):
            assert word not in text, f"{word} in {path.name}"


def test_the_import_box_reads_recipes_where_merged_files_carry_them(online: TestClient) -> None:
    library = online.app.state.services.library  # type: ignore[attr-defined]
    plan = preflight(RECIPE, library).plan
    assert plan is not None
    header = json.loads(plan.shards[0].header[8:])
    (key,) = [key for key, value in header["__metadata__"].items() if "merge_method" in value]
    assert f"__metadata__?.{key};" in (STATIC / "js/file-import.js").read_text()
