"""What is displayed."""

CASES: dict[str, tuple[str, str]] = {
    "classes": (
        "image/svg\\+xml",
        r"""
import base64
from IPython.display import (
    HTML, SVG, Audio, Code, GeoJSON, IFrame, Image, JSON, Javascript, Latex, Markdown, Math, Pretty, ProgressBar,
    TextDisplayObject, Video, display,
)
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
display(Image(data=PIXEL), Image(data=PIXEL, width=30, height=20, alt="pixel"), Image(url="https://example.org/a.png"))
display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="3"/></svg>'))
display(HTML("<b>bold &amp; <i>both</i></b>"), Markdown("# Title\n* `code`"), Latex(r"$$\int_0^1$$"), Math(r"\alpha"))
display(JSON({"a": [1, 2.5, None, True], "ü": "🙂"}, expanded=True, root="r"))
display(GeoJSON({"type": "Point", "coordinates": [1, 2]}))
display(Javascript("console.log('hello')"), IFrame("https://example.org", 300, 200), Pretty("pretty"))
display(Code("x = 1", language="python"), Audio(data=[0.0, 0.5, -0.5] * 10, rate=8000), Video("https://example.org/a.mp4"))
""",
    ),
    "raw_bundles": (
        "application/x-own\\+json",
        r"""
display({"application/x-own+json": {"nan": None, "deep": [[[1]]]}, "text/plain": "own"}, raw=True,
        metadata={"application/x-own+json": {"k": 1}, "plain": [1]})
display({"image/png": b"\x89PNG\r\n\x1a\n\x00\xff", "application/octet-stream": b"\x00\x01"}, raw=True)
""",
    ),
    "own_reprs": (
        "mime bundle",
        r"""
class Several:
    def _repr_html_(self): return "<p>html</p>"
    def _repr_markdown_(self): return "*md*"
    def _repr_png_(self): return b"\x89PNG\r\n\x1a\nxx", {"width": 3}
    def __repr__(self): return "Several()"
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "mime bundle", "text/html": "<b>"}, {"text/html": {"isolated": True}}
class Own:
    def _ipython_display_(self): print("displays itself")
class Broken:
    def _repr_html_(self): raise ValueError("no html")
    def __repr__(self): return "Broken()"
display(Several(), Bundle(), Own(), Broken())
Bundle()
""",
    ),
    "broken_repr": (
        "no repr",
        r"""
class Broken:
    def __repr__(self): raise ValueError("no repr")
Broken()
""",
    ),
    "plotly": (
        "application/vnd.plotly",
        r"""
import plotly.graph_objects as go
import plotly.io as pio
pio.renderers.default = "plotly_mimetype"
figure = go.Figure(data=[go.Bar(x=["a", "b"], y=[1, 3]), go.Scatter(x=[0, 1], y=[2, None])])
figure.update_layout(title={"text": "ü"})
figure.show()
figure
""",
    ),
    "pandas": (
        "class=.{2}dataframe",
        r"""
import pandas as pd
days = pd.date_range("2026-01-01", periods=3)
frame = pd.DataFrame({"name": ["a", "<b>", None], "value": [1.5, float("nan"), 1e9]}, index=days)
display(frame, frame.describe(), frame["value"])
print(frame)
frame.T
""",
    ),
    "matplotlib": (
        "image/png",
        r"""
import matplotlib.pyplot as plt
for n in range(2):
    plt.figure(figsize=(2, 1))
    plt.plot([0, n, 1])
    print("figure", n, flush=True)
    plt.show()
figure, axes = plt.subplots(1, 2, figsize=(3, 1))
axes[1].imshow([[0, 1], [1, 0]])
plt.figure(figsize=(1, 1))
print("two are shown at the end")
# %%
figure
# %%
%config InlineBackend.figure_formats = ["retina", "png"]
plt.figure(figsize=(1, 1)).suptitle("Größe")
plt.plot([1, 2]);
# %%
%config InlineBackend.figure_formats = ["png"]
%matplotlib inline
plt.figure(figsize=(1, 1))
1 / 0
""",
    ),
    "animation_by_clearing": (
        "image/png",
        r"""
import matplotlib.pyplot as plt
from IPython.display import clear_output
losses = []
for step in range(4):
    losses.append(1 / (step + 1))
    clear_output(wait=True)
    plt.figure(figsize=(1, 1))
    plt.plot(losses)
    plt.show()
    print("step", step, flush=True)
""",
    ),
    "last_expression": (
        "execute_result",
        r"""
1 + 1
# %%
None
# %%
2 + 2;
# %%
x = 3
# %%
"text"; [1, {"a": (2,)}, {3}]
# %%
display("shown"); print("printed"); "result"
# %%
%config InteractiveShell.ast_node_interactivity = "all"
4
5
# %%
%config InteractiveShell.ast_node_interactivity = "last_expr"
b"bytes", 1.0, range(3), type
""",
    ),
    "history": (
        r"\(14, 14, 7\)",
        r"""
7
# %%
_ * 2
# %%
_, _, __
# %%
In[-2], _i, _ii, len(Out) > 2, Out[max(Out)], _oh is Out, get_ipython().execution_count - max(Out)
""",
    ),
    "display_ids": (
        "again under the same id",
        r"""
from IPython.display import HTML, DisplayHandle, Image, display, update_display
handle = display("first", display_id=True)
print("between", flush=True)
handle.update(HTML("<b>second</b>"))
for name in "ab":
    display(name, display_id="twice")
update_display("third", display_id="twice")
own = DisplayHandle()
own.display({"text/plain": "raw"}, raw=True)
own.update({"text/plain": "raw, updated", "text/html": "<i>raw</i>"}, raw=True, metadata={"text/html": {"m": 1}})
update_display("nobody has this id", display_id="unknown")
# %%
update_display("fourth, by another cell", display_id="twice")
handle.update("fifth, by another cell")
# %%
display("again under the same id", display_id="twice")
""",
    ),
    "display_id_after_clear": (
        "only this",
        r"""
from IPython.display import clear_output, display, update_display
display("gone", display_id="cleared")
clear_output()
display("only this")
update_display("must not come back", display_id="cleared")
""",
    ),
    "clear_output": (
        "left: 4",
        r"""
from IPython.display import HTML, clear_output, display
import sys
for i in range(5):
    clear_output(wait=True)
    print("left:", i, flush=True)
    print("errors", i, file=sys.stderr, flush=True)
    display(HTML(f"<b>{i}</b>"))
# %%
for i in range(3):
    print("shown for a moment", i, flush=True)
    clear_output()
# %%
print("stays, since nothing follows", flush=True)
clear_output(wait=True)
# %%
print("the clearing above touches only its own cell", flush=True)
clear_output(wait=True)
clear_output()
print("after both")
# %%
print("partial line", end="", flush=True)
clear_output(wait=True)
1 / 0
""",
    ),
}
