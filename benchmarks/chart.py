"""A chart of figures over time as an SVG file: one panel each, drawn by hand, since nothing else here needs to draw."""

from collections.abc import Mapping
from html import escape

from benchmarks.trend import Points

_WIDTH, _PANEL, _LEFT, _RIGHT, _LINE = 900, 110, 10, 160, 14


def svg(title: str, panels: Mapping[str, Points]) -> str:
    """Each panel goes from nought to its largest value; the right margin names it, with its last and its largest."""
    height = _PANEL * len(panels) + 3 * _LINE
    drawn = [_panel(name, points, _PANEL * number + 2 * _LINE) for number, (name, points) in enumerate(panels.items())]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', _text(_LEFT, _LINE, title), *drawn, "</svg>\n"])


def _panel(name: str, points: Points, top: float) -> str:
    first, last = points[0][0], points[-1][0]
    most = max(value for _, value in points) or 1.0
    inner = _PANEL - 2 * _LINE
    across, up = (_WIDTH - _LEFT - _RIGHT) / ((last - first) or 1.0), inner / most
    line = " ".join(f"{_LEFT + (at - first) * across:.1f},{top + inner - value * up:.1f}" for at, value in points)
    beside = _WIDTH - _RIGHT + _LINE
    words = [name, f"last {points[-1][1]:,.1f}", f"most {most:,.1f}", f"{(last - first) / 60:.1f} minutes"]
    frame = f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - _RIGHT}" height="{inner}" fill="none" stroke="#ccc"/>'
    texts = [_text(beside, top + (number + 1) * _LINE, word) for number, word in enumerate(words)]
    return "\n".join([frame, f'<polyline points="{line}" fill="none" stroke="#06c"/>', *texts])


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(words)}</text>'
