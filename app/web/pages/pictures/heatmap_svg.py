"""A heat map as a file of its own: with its colours in it, on white, for slides and papers."""

from __future__ import annotations

from xml.sax.saxutils import escape

from app.web.pages.pictures.heatmap import Cell, HeatMap
from app.web.shown import shown

_COLOURS = {
    "h": ("#f4f5e6", "#e2ebca", "#bae3ba", "#87d3b9", "#59beb8", "#33a5b1", "#006c98", "#085491", "#193c82", "#1a2664"),
    "d": ("#904016", "#d58042", "#ecaf79", "#f6d8b7", "#f2f2ef", "#c4e3f9", "#8fc4f1", "#5b9ddf", "#2759a2"),
}
"""Those of the light theme in ``static/css/compare.css``."""
_WHITE_ON = {"h6", "h7", "h8", "h9", "d0", "d8"}
_FONT = ' font-family="Inter, system-ui, sans-serif"'
_INK, _MUTED = "#181d27", "#5c6370"
_AXIS, _COLUMN, _TOP, _FOOT = 64, 78, 58, 40


def as_svg(picture: HeatMap, title: str, about: str) -> str:
    """A whole SVG document. ``title``: what was compared; ``about``: which measure of whom."""
    inner = _COLUMN * max(1, len(picture.columns))
    width, height = _AXIS + inner + 16, _TOP + picture.height + _FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"{_FONT}>',
        f"<title>{escape(shown(f'{title}: {about}'))}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(16, 24, title, _INK, size=15, weight=650),
        _text(16, 42, about, _MUTED),
    ]
    for name, centre in picture.columns:
        parts.append(_text(_AXIS + inner * centre / 100, _TOP + 10, name, _MUTED, anchor="middle"))
    for row in picture.rows:
        parts.append(_text(_AXIS - 8, _TOP + row.y + picture.pitch * 0.7, row.short, _MUTED, anchor="end"))
        parts += [_cell(one, inner, 21 if row.wide else picture.pitch) for one in row.cells if one.key]
    return "\n".join([*parts, *_legend(picture, height), "</svg>"]) + "\n"


def _cell(one: Cell, inner: int, pitch: int) -> str:
    x, width = _AXIS + inner * one.x / 100, inner * one.width / 100
    box = f'x="{x:.1f}" y="{_TOP + one.y}" width="{width:.1f}" height="{pitch - 2}" rx="2"'
    if not one.colour:
        return f'<rect {box} fill="none" stroke="#d8dade" stroke-dasharray="2 3"/>'
    fill = _COLOURS[one.colour[0]][int(one.colour[1:])]
    ink = "#ffffff" if one.colour in _WHITE_ON else _INK
    label = _text(x + width / 2, _TOP + one.y + 14, one.text, ink, anchor="middle") if one.text else ""
    return f'<g><title>{escape(shown(one.title))}</title><rect {box} fill="{fill}"/>{label}</g>'


def _legend(picture: HeatMap, height: int) -> list[str]:
    colours = _COLOURS["d" if picture.scale.diverging else "h"]
    y = height - 24
    swatches = [
        f'<rect x="{_AXIS + 14 * number}" y="{y}" width="14" height="10" fill="{colour}"/>'
        for number, colour in enumerate(colours)
    ]
    end = _AXIS + 14 * len(colours) + 8
    return [
        _text(_AXIS - 8, y + 9, picture.low, _MUTED, anchor="end"),
        *swatches,
        _text(end, y + 9, picture.high, _MUTED),
    ]


def _text(x: float, y: float, text: str, fill: str, *, anchor: str = "start", size: int = 11, weight: int = 400) -> str:
    about = f'x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f"<text {about}>{escape(shown(text))}</text>"
