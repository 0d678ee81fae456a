"""Magics, shell commands, help, await: what IPython adds to Python."""

CASES: dict[str, tuple[str, str]] = {
    "shell": (
        "hello from sh",
        r"""
!echo hello from sh
!echo to stderr >&2
!printf 'no newline'
name = "value"
!echo {name} $name
lines = !printf 'a\nb\n'
print(lines, lines.n)
!exit 3
_exit_code
""",
    ),
    "shell_colours": ("31mred", r"!printf '\033[31mred\033[0m\n'"),
    "cell_of_bash": (
        "bash says",
        r"""
%%bash
echo "bash says $((1 + 1))"
echo "and complains" >&2
""",
    ),
    "cell_of_bash_fails": ("CalledProcessError", "%%bash\necho before\nexit 7"),
    "cell_of_python": ("child python", "%%python3\nprint('child python')"),
    "cell_of_html": ("text/html", "%%html\n<b>html</b>"),
    "cell_of_javascript": ("application/javascript", "%%javascript\nconsole.log(1)"),
    "cell_of_markdown": ("text/markdown", "%%markdown\n# title"),
    "capture": (
        "captured: ",
        r"""
%%capture captured
print("hidden")
display("hidden too")
1 + 1
# %%
print("captured:", captured.stdout.strip(), len(captured.outputs))
captured.show()
""",
    ),
    "time": (
        "Wall time",
        r"""
%%time
total = sum(range(1000))
total
# %%
%time total = 3
# %%
%timeit -n 1 -r 1 pass
""",
    ),
    "folders": (
        "conformance",
        r"""
%pwd
# %%
import os
%mkdir -p sub/folder
%cd sub
%cd ..
print(os.path.isdir("sub/folder"), os.getcwd())
""",
    ),
    "write_and_run": (
        "42",
        r"""
%%writefile script.py
import sys
print("arguments", sys.argv[1:], __name__)
answer = 42
# %%
%run script.py one "two three"
answer
# %%
%%writefile -a script.py
raise SystemExit("done")
# %%
%run script.py
# %%
!cat script.py
""",
    ),
    "env": (
        "value of it",
        r"""
%env LEPTON_CONFORMANCE=value of it
%env LEPTON_CONFORMANCE
# %%
!echo $LEPTON_CONFORMANCE
%set_env LEPTON_CONFORMANCE=2
""",
    ),
    "names": (
        "Variable",
        r"""
alpha_of_names, beta_of_names = 1, "two"
%who int
%whos int
%psearch alpha_of*
# %%
del alpha_of_names
%reset_selective -f beta_of_names
"beta_of_names" in globals()
""",
    ),
    "help_as_pager": (
        "Signature",
        r"""
def documented(x, y=2):
    "Says what it does."
    return x
documented?
# %%
documented??
# %%
%timeit?
# %%
?documented
# %%
*int*?
""",
    ),
    "next_cell": (
        "set_next_input",
        r"""
with open("to_load.py", "w") as file:
    file.write("loaded = 'ü'\nprint(loaded)\n")
get_ipython().set_next_input("# written by the cell")
# %%
%load to_load.py
""",
    ),
    "config": (
        "3.142",
        r"""
%precision 3
3.14159265
# %%
%precision %r
3.14159265
# %%
%pprint
list(range(5))
# %%
%pprint
%automagic 0
%automagic 1
# %%
%config InlineBackend.figure_formats
""",
    ),
    "extension": ("unknown_extension", "%load_ext unknown_extension"),
    "autoreload": (
        "second",
        r"""
%load_ext autoreload
%autoreload 2
with open("changing.py", "w") as file:
    file.write("def f(): return 'first'\n")
import changing, os
print(changing.f())
# %%
with open("changing.py", "w") as file:
    file.write("def f(): return 'second version'\n")
os.utime("changing.py", (2e9, 2e9))
# %%
print(changing.f())
%autoreload 0
""",
    ),
    "magic_made_here": (
        "my magic got",
        r"""
from IPython.core.magic import register_cell_magic, register_line_magic
@register_cell_magic
def mine(line, cell):
    print("my magic got", repr(line), repr(cell))
@register_line_magic
def shout(line):
    return line.upper()
# %%
%%mine a line
a cell {not_expanded} $here
# %%
%shout it
""",
    ),
    "hooks": (
        "after a cell",
        r"""
def after(*args):
    print("after a cell")
get_ipython().events.register("post_run_cell", after)
# %%
print("cell")
get_ipython().events.unregister("post_run_cell", after)
""",
    ),
    "await": (
        "slept 1",
        r"""
import asyncio
async def nap(n):
    await asyncio.sleep(0.01 * n)
    print("slept", n, flush=True)
    return n
await nap(1)
# %%
await asyncio.gather(nap(2), nap(1))
# %%
async with asyncio.timeout(5):
    print('in time')
# %%
async def numbers():
    for n in range(2):
        yield n
[n async for n in numbers()]
""",
    ),
    "tasks": (
        "background 2",
        r"""
import asyncio
async def background():
    for n in range(3):
        print("background", n, flush=True)
        await asyncio.sleep(0.01)
    return "finished"
task = asyncio.create_task(background())
print("started", flush=True)
await task
""",
    ),
    "stdin_refused": ("StdinNotImplementedError", "print('asks', flush=True)\ninput('name? ')"),
    "getpass_refused": ("StdinNotImplementedError", "import getpass\ngetpass.getpass()"),
    "where": (
        "__main__",
        r"""
import sys
print(__name__, "__file__" in globals(), sys.argv[0] != "", type(get_ipython()).__name__)
print(sorted(name for name in globals() if name.startswith("__")))
""",
    ),
    "profile": (
        "function calls",
        r"""
%%prun -q -T profile.txt
sum(range(10))
# %%
print(open("profile.txt").read().split(" in ")[0][-20:])
""",
    ),
}
