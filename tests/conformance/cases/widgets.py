"""ipywidgets: their views in the cell, their models in the notebook's metadata."""

CASES: dict[str, tuple[str, str]] = {
    "slider": (
        "application/vnd.jupyter.widget-view",
        r"""
import ipywidgets as widgets
slider = widgets.IntSlider(value=3, description="ü")
display(slider)
slider
# %%
slider.value = 7
print(slider.value, flush=True)
slider
""",
    ),
    "layout": (
        "VBox",
        r"""
row = widgets.HBox([widgets.Button(description="go"), widgets.Text("text")])
box = widgets.VBox([widgets.HTML("<b>title</b>"), row])
box
# %%
box.children = (*box.children, widgets.FloatProgress(value=0.5, max=1.0))
widgets.jslink((slider, "value"), (box.children[2], "max"))
print(len(box.children))
""",
    ),
    "binary": (
        "Image",
        r"""
picture = widgets.Image(value=b"\x89PNG\r\n\x1a\n\x00\x01", format="png")
display(picture)
picture.value = b"\x89PNG changed \xff\xfe"
widgets.FileUpload()
""",
    ),
    "progress": (
        "model_id",
        r"""
from tqdm.notebook import tqdm
for i in tqdm(range(5), desc="steps"):
    pass
for i in tqdm(range(4), leave=False):
    pass
for i in tqdm(range(3), desc="fails"):
    if i == 2:
        1 / 0
""",
    ),
    "auto_progress": (
        "widget-view|100%",
        r"""
import warnings
warnings.simplefilter("ignore")
from tqdm.auto import trange
for i in trange(3, bar_format="{n_fmt}/{total_fmt}"):
    pass
""",
    ),
    "output": (
        "shown in the cell",
        r"""
from IPython.display import HTML, clear_output
out = widgets.Output()
display(out)
with out:
    print("in the widget", flush=True)
    display(HTML("<b>in the widget too</b>"))
print("shown in the cell", flush=True)
with out:
    print("more in the widget", flush=True)
# %%
with out:
    clear_output()
    print("from the next cell", flush=True)
# %%
with out:
    clear_output(wait=True)
    print("replaced", flush=True)
print("outside", flush=True)
# %%
out.append_stdout("appended\n")
out.append_display_data(HTML("<i>appended</i>"))
out
""",
    ),
    "output_fails": (
        "after",
        r"""
bad = widgets.Output()
display(bad)
with bad:
    print("before", flush=True)
    1 / 0
print("after: an Output widget swallows the error")
""",
    ),
    "capture": (
        "Output\\(\\)",
        r"""
captured = widgets.Output()
@captured.capture(clear_output=True)
def call():
    print("captured call", flush=True)
call()
display(captured)
""",
    ),
    "interact": (
        "interactive",
        r"""
import ipywidgets
def show(x, name="a", flag=True):
    print("x is", x, name, flag, flush=True)
    return x * 2
w = ipywidgets.interactive(show, x=(0, 10), name=["a", "b"])
display(w)
# %%
@ipywidgets.interact(x=ipywidgets.fixed(5))
def shown(x):
    print("x is", x, flush=True)
""",
    ),
    "observe": (
        "changed to 9",
        r"""
number = widgets.IntText(1)
number.observe(lambda change: print("changed to", change["new"], flush=True), "value")
number.value = 9
number.close()
""",
    ),
    "own_comm": (
        "opened",
        r"""
from comm import create_comm
channel = create_comm(target_name="nobody.has.this.target", data={"hello": 1}, metadata={"m": 1})
channel.send({"n": 1}, buffers=[b"\x00\xff"])
channel.close()
print("opened, sent, closed")
""",
    ),
}
