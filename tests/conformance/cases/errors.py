"""Exceptions: the traceback is the user's own, and the cell fails."""

CASES: dict[str, tuple[str, str]] = {
    "plain": (
        "ZeroDivisionError",
        r"""
print("before")
def inner(x):
    return 1 / x
def outer():
    # a comment
    return inner(0)
outer()
print("never")
""",
    ),
    "in_earlier_cell": (
        "IndexError",
        r"""
def defined_here():
    values = [1, 2, 3]
    return values[10]
# %%

defined_here()
""",
    ),
    "from": (
        "direct cause",
        r"""
try:
    {}["missing"]
except KeyError as error:
    raise RuntimeError("could not load") from error
""",
    ),
    "during": (
        "During handling",
        r"""
try:
    int("a")
except ValueError:
    [][0]
""",
    ),
    "from_none": (
        "LookupError",
        r"""
try:
    int("a")
except ValueError:
    raise LookupError("hidden cause") from None
""",
    ),
    "syntax": ("SyntaxError", "print('before')\nx = = 1\n"),
    "syntax_unclosed": ("SyntaxError", "print('a'\n\ny = 2"),
    "syntax_in_eval": ("SyntaxError", "eval('1 +')"),
    "indentation": ("IndentationError", "if True:\nprint(1)"),
    "tabs": ("TabError", "if True:\n\tx = 1\n        y = 2"),
    "name": ("NameError", "undefined_name"),
    "attribute_hint": ("AttributeError", "import math\nmath.sqr(2)"),
    "import": ("ModuleNotFoundError", "import no_such_module_anywhere"),
    "assertion": ("AssertionError", "assert 1 == 2, ('message', 'ü')"),
    "in_a_module": (
        "broken_module.py",
        r"""
%%writefile broken_module.py
'''A module of the user's.'''

def fail(values):
    total = 0
    for value in values:
        total += 1 / value  # ü
    return total
# %%
import broken_module
broken_module.fail([1, 0])
# %%
import importlib
with open("broken_module.py", "a") as file:
    file.write("\n\ndef oops(:\n")
importlib.reload(broken_module)
""",
    ),
    "group": (
        "ExceptionGroup",
        r"""
def several():
    raise ExceptionGroup("several", [ValueError(1), ExceptionGroup("more", [TypeError("two"), KeyError("three")])])
several()
""",
    ),
    "notes": (
        "",
        r"""
error = ValueError("with notes")
if hasattr(error, "add_note"):
    error.add_note("look at line 3\nand 4")
raise error
""",
    ),
    "weird": (
        "Weird",
        r"""
class Weird(Exception):
    def __str__(self):
        return "\x1b[31mred\x1b[0m <b>html</b> 🙂\nsecond line\r\n" + "long " * 200
raise Weird("args", object)
""",
    ),
    "undecodable": (
        "\\ufffd|�",
        r"""
raise ValueError("a file name that is no UTF-8: \udcff")
""",
    ),
    "str_raises": (
        "Broken",
        r"""
class Broken(Exception):
    def __str__(self):
        raise ValueError("no words")
raise Broken()
""",
    ),
    "no_message": (
        "Silent",
        r"""
class Silent(BaseException):
    pass
raise Silent
""",
    ),
    "own_traceback": (
        "my own lines",
        r"""
class Own(Exception):
    def _render_traceback_(self):
        return ["my own lines", "second"]
raise Own("x")
""",
    ),
    "keyboard_interrupt": ("KeyboardInterrupt", "print('before', flush=True)\nraise KeyboardInterrupt"),
    "recursion": (
        "RecursionError",
        r"""
import sys
def again(n):
    return again(n + 1)
usual = sys.getrecursionlimit()
sys.setrecursionlimit(300)
try:
    again(0)
finally:
    sys.setrecursionlimit(usual)
""",
    ),
    "system_exit": ("SystemExit", "import sys\nprint('before')\nsys.exit(3)"),
    "system_exit_words": ("SystemExit", "raise SystemExit('some words')"),
    "stop_iteration": ("StopIteration", "next(iter([]))"),
    "generator": (
        "RuntimeError",
        r"""
def generator():
    yield 1
    raise StopIteration
list(generator())
""",
    ),
    "modes": (
        "ValueError",
        r"""
%xmode Plain
def f(): raise ValueError("plain")
f()
# %%
%xmode Verbose
value = 3
f()
# %%
%xmode Minimal
f()
# %%
%xmode Context
f()
""",
    ),
    "shown_by_code": (
        "shown",
        r"""
import traceback
try:
    1 / 0
except ZeroDivisionError:
    get_ipython().showtraceback()
    traceback.print_exc()
print("shown, and the cell goes on")
""",
    ),
    "after_output_of_all_kinds": (
        "MemoryError",
        r"""
import sys
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
display("shown")
raise MemoryError("not really")
""",
    ),
    "in_a_thread": (
        "thread failed",
        r"""
import threading
def work():
    raise RuntimeError("thread failed")
thread = threading.Thread(target=work, name="worker")
thread.start()
thread.join()
print("the cell goes on")
""",
    ),
    "in_async": (
        "await failed",
        r"""
import asyncio
async def work():
    await asyncio.sleep(0)
    raise RuntimeError("await failed")
await work()
""",
    ),
    "usage": ("UsageError", "%no_such_magic"),
    "usage_of_a_magic": ("UsageError", "%timeit -z 1"),
    "after_errors_all_is_well": ("well", "print('well')"),
}
