"""Much of it."""

CASES: dict[str, tuple[str, str]] = {
    "many_prints": (
        "line 9999",
        r"""
for i in range(10_000):
    print("line", i, flush=True)
""",
    ),
    "many_lines": (
        "line 99999",
        r"""
for i in range(100_000):
    print("line", i)
""",
    ),
    "many_displays": (
        "display 1999",
        r"""
for i in range(2000):
    display(f"display {i}")
""",
    ),
    "many_updates": (
        "update 1999",
        r"""
handle = display("first", display_id=True)
for i in range(2000):
    handle.update(f"update {i}")
""",
    ),
    "big_text": (
        "0123456789",
        r"""
import sys
for part in range(50):
    sys.stdout.write("0123456789" * 100_000 + "\n")
""",
    ),
    "big_line": ("0123456789", "print('0123456789' * 5_000_000)"),
    "big_display": (
        "application/x-big",
        r"""
display({"application/x-big": "0123456789" * 5_000_000, "text/plain": "big"}, raw=True)
""",
    ),
    "big_picture": (
        "image/png",
        r"""
from IPython.display import Image
Image(data=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40_000)
""",
    ),
    "afterwards": ("still quick", "print('still quick')"),
}
