"""The generated pages of the docs: ``python -m app.web.docs`` writes them, a test holds them to what this makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from app.recipe.catalogue import METHODS, Method
from app.recipe.limits import limits_page
from app.recipe.methods_page import methods_page
from app.settings import ROOT
from app.web.pages.pictures import stack
from app.web.pages.pictures.method import example
from app.web.rendering import Templates
from app.web.static_files import Static, asset_folder

FOLDER = ROOT / "docs"
_THREADS = {"base": "#8a93a0", "A": "#128a7d", "B": "#db831b", "C": "#7453e5"}
_STYLE = """
text { font: 10px Inter, system-ui, sans-serif; fill: #5a616d; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
.strong { fill: #181d27; font-weight: 650; }
.line { fill: none; stroke: #181d27; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.arrow { fill: #181d27; }
.dash { stroke-dasharray: 3 4; stroke-width: 1.5; }
.curve-frame { fill: none; stroke: #e3e2dd; }
.s4 { opacity: .79; }
"""
_MARGIN = 20


def files() -> Mapping[Path, str]:
    """Every generated file by its place below ``docs``."""
    made = {Path("methods.md"): methods_page(), Path("limits.md"): limits_page()}
    templates = Templates(asset_folder("templates"), Static(asset_folder("static")))
    return made | {Path("methods", f"{method.name}.svg"): picture(templates, method) for method in METHODS.values()}


def picture(templates: Templates, method: Method) -> str:
    """A method's picture as a file of its own: on white, with its colours inside."""
    macros = templates.environment.get_template("macros/charts.html").module
    drawn = example(method)
    chart = str(macros.vectors(drawn, method.title) if drawn else macros.layer_stack(stack.sample()))  # type: ignore[attr-defined]
    chart = chart.replace(", with this recipe's numbers", "")
    height = float(re.findall(r'viewBox="0 0 260 ([\d.]+)"', chart)[0])
    inner = chart.replace(
        'class="chart method-picture"', f'x="{_MARGIN}" y="{_MARGIN}" width="260" height="{height}"', 1
    )
    colours = "".join(
        f".t-{letter} .line {{ stroke: {colour}; }}\n"
        f".t-{letter} .arrow, .t-{letter} .fill, .t-{letter}.fill {{ fill: {colour}; }}\n"
        for letter, colour in _THREADS.items()
    )
    size = f"{260 + 2 * _MARGIN} {height + 2 * _MARGIN:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="450">\n<style>{_STYLE}{colours}</style>\n'
        f'<rect width="100%" height="100%" rx="12" fill="#fff"/>\n{inner.strip()}\n</svg>\n'
    )


def write(folder: Path) -> None:
    """Write all of them below ``folder``; pictures of methods that are no more are removed."""
    (folder / "methods").mkdir(parents=True, exist_ok=True)
    made = files()
    for path in (folder / "methods").glob("*.svg"):
        if Path("methods", path.name) not in made:
            path.unlink()
    for place, text in made.items():
        (folder / place).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER)
