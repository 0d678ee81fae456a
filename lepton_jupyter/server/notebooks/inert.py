"""Tells whether outputs could run a script where they are shown. Runs in Jupyter Server; a pure function.

A cell that was run in the page is trusted there, and its HTML shown as it is. What we write into a cell was made on
another machine, perhaps while nobody looked; so it keeps the cell's trust only when it cannot do anything. That is
decided by a list of what may be in it, not of what may not: HTML passes when all of it is text and tags that we know,
written so plainly that every browser reads them alike. All else is shown through JupyterLab's sanitiser, as in any
notebook that came from elsewhere, until the user trusts it. See docs/decisions/0013-write-back-and-trust.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Shown as text, as pixels, or by renderers that JupyterLab itself takes for safe. An SVG is shown as a picture
#: (JupyterLab: ``<img src="data:…">``), in which a browser runs no script.
_INERT = (
    "text/plain", "text/latex", "application/json", "application/geo+json", "application/vnd.plotly.v1+json",
    "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.stdout", "application/vnd.jupyter.stderr",
)  # fmt: skip
_INERT_KINDS = re.compile(
    r"image/(?:png|jpeg|gif|webp|bmp|svg\+xml)|application/vnd\.vega(?:lite)?\.v\d+(?:\.\d+)?\+json"
)

_TAGS = frozenset(
    re.findall(
        r"\S+",
        """
        a abbr article aside b blockquote br caption center cite code col colgroup dd del details dfn div dl dt em
        figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd label legend li main mark meter nav ol p
        pre progress q rp rt ruby s samp section small span strike strong sub summary sup table tbody td tfoot th thead
        time tr tt u ul var wbr
        svg g path rect circle ellipse line polyline polygon text tspan defs clipPath linearGradient radialGradient stop
        """,
    )
)
_ATTRIBUTES = frozenset(
    re.findall(
        r"\S+",
        """
        align alt aria-hidden aria-label aria-valuemax aria-valuemin aria-valuenow bgcolor border cellpadding
        cellspacing char charoff class color cols colspan dir face frame halign headers height high lang low max media
        min open optimum quote rel role rows rowspan rules scope scoped size span start summary tabindex target title
        type valign value width
        clip-rule cx cy d dominant-baseline dx dy fill-opacity fill-rule font-family font-size font-style font-weight
        gradientTransform gradientUnits letter-spacing offset opacity points preserveAspectRatio r rx ry stop-color
        stop-opacity stroke-dasharray stroke-linecap stroke-linejoin stroke-opacity stroke-width text-anchor transform
        vector-effect version viewBox x x1 x2 y y1 y2
        """,
    )
)
_SPACE = r"[ \t\n\r\f]"  # what separates attributes; browsers take no other space for one
_VALUE = r"""(?:"[^"<>]*"|'[^'<>]*'|[^\s"'=<>`/]+)"""
_ATTRIBUTE = re.compile(rf"{_SPACE}+([A-Za-z][A-Za-z0-9-]*)(?:=({_VALUE}))?")
_TAG = re.compile(
    rf"<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?P<attributes>(?:{_SPACE}+[A-Za-z][A-Za-z0-9-]*(?:={_VALUE})?)*){_SPACE}*/?>"
)
_STYLE = re.compile(rf"<style(?P<attributes>(?:{_SPACE}+[a-z]+(?:={_VALUE})?)*){_SPACE}*>(?P<css>[^<]*)</style>")

#: An address that goes nowhere but to a web page, a place on this page, or a picture that is given whole.
_ADDRESS = re.compile(
    r"(?:https?://|mailto:|#)[^\s<>]*|data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*|[\w./?=-]*"
)
_PANDAS_ID = re.compile(r"T_[0-9a-f]{5}\w*")
#: CSS that fetches something, or puts itself over the page.
_LOUD_CSS = re.compile(r"url|image|@|\\|expression|fixed|sticky|absolute|behaviou?r|binding|&", re.IGNORECASE)
_SCHEME = re.compile(r"(?:javascript|vbscript|data):", re.IGNORECASE)


def inert(outputs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing in `outputs` could run a script, even where it is trusted."""
    return all(_inert_data(mime, value) for output in outputs for mime, value in (output.get("data") or {}).items())


def inert_html(text: str) -> bool:
    """Whether HTML is text and harmless tags and nothing else."""
    if "\0" in text or len(text) > 4_000_000:
        return False
    position = 0
    while True:
        start = text.find("<", position)
        if start < 0:
            return True
        found = _STYLE.match(text, start)
        if found is not None:
            if _LOUD_CSS.search(found["css"]) or not _inert_attributes(found["attributes"]):
                return False
        else:
            found = _TAG.match(text, start)
            if found is None or found["name"] not in _TAGS:
                return False
            if not _inert_attributes(found["attributes"]) or (found["close"] and found["attributes"]):
                return False
        position = found.end()


def _inert_data(mime: str, value: Any) -> bool:
    if mime in _INERT or _INERT_KINDS.fullmatch(mime):
        return True
    text = "".join(value) if isinstance(value, list) and all(isinstance(line, str) for line in value) else value
    if not isinstance(text, str):
        return False
    if mime == "text/html":
        return inert_html(text)
    if mime == "text/markdown":
        plain = re.sub(r"[\\\s]", "", text)
        return not ("<" in plain or "&" in plain or _SCHEME.search(plain))
    return False


def _inert_attributes(text: str) -> bool:
    for name, quoted in _ATTRIBUTE.findall(text):
        value = quoted[1:-1] if quoted[:1] in ("'", '"') else quoted
        if name in ("href", "src"):
            fine = _ADDRESS.fullmatch(value) is not None
        elif name == "id":
            fine = _PANDAS_ID.fullmatch(value) is not None
        elif name == "style":
            fine = not _LOUD_CSS.search(value)
        elif name == "xmlns":
            fine = value == "http://www.w3.org/2000/svg"
        elif name in ("fill", "stroke", "clip-path"):
            fine = re.fullmatch(r"[\w#.,%() -]*", value) is not None
        else:
            fine = name in _ATTRIBUTES
        if not fine:
            return False
    return True
