"""Draws a terminal's text as SVG, with the monospaced font of the reader's browser."""

from html import escape
from textwrap import TextWrapper

FONT = "ui-monospace, 'SFMono-Regular', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
STYLE = f"text {{ font: 14px {FONT}; white-space: pre; fill: #d7dae0 }} .typed {{ fill: #8fd694; font-weight: 600 }}"
WRAPPED = TextWrapper(110, drop_whitespace=False, expand_tabs=False, replace_whitespace=False)
WIDTH, HEIGHT, MARGIN, BAR = 8.43, 20, 20, 34


def picture(text: str, title: str) -> str:
    """Return the text as SVG."""
    lines = [part for line in text.rstrip("\n").split("\n") for part in WRAPPED.wrap(line) or [""]]
    width = round(max(map(len, [*lines, " " * 60])) * WIDTH + 2 * MARGIN)
    height = len(lines) * HEIGHT + MARGIN + BAR
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#1d2127"/>',
            *(f'<circle cx="{22 + 18 * n}" cy="18" r="5" fill="#4a515c"/>' for n in range(3)),
            *(_line(line, BAR + HEIGHT * number + 14) for number, line in enumerate(lines) if line),
            "</svg>\n",
        ]
    )


def _line(line: str, y: int) -> str:
    typed = ' class="typed"' if line.startswith("$ ") else ""
    return f'<text x="{MARGIN}" y="{y}"{typed} xml:space="preserve">{escape(line, quote=False)}</text>'
