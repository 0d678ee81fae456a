"""What is written to stdout and stderr."""

CASES: dict[str, tuple[str, str]] = {
    "interleaved": (
        "out 4",
        r"""
import sys
for i in range(5):
    print("out", i, flush=True)
    print("err", i, file=sys.stderr, flush=True)
""",
    ),
    "parts_of_lines": (
        "abc",
        r"""
import sys
sys.stdout.write("a")
print("b", end="")
print("c", end="", flush=True)
sys.stderr.write("no newline at the end")
""",
    ),
    "nothing": ("", "x = 1"),
    "only_comments": ("", "# nothing\n\n   "),
    "blank_lines": (
        r"first\\n\\n\\nlast",
        r"""

print("first")

print()
print()
print("last")


""",
    ),
    "indented": ("indented", "    x = 'indented'\n    print(x)"),
    "carriage_return": (
        "100%",
        r"""
import time
for i in range(101):
    print(f"\r{i}%", end="", flush=True)
print()
print("overwritten\rOVER")
print("long line\rxy", end="")
print("\rz", flush=True)
print("windows\r\nline ends\r\n")
""",
    ),
    "backspace": (
        "spinn done",
        r"""
print("spinner ", end="")
for char in "|/-\\" * 3:
    print(char, end="\b", flush=True)
print("\b\b\b done")
""",
    ),
    "tqdm": (
        "100%",
        r"""
from tqdm import tqdm
for i in tqdm(range(300), desc="epoch 1"):
    pass
total = sum(tqdm(range(10), bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt}", mininterval=0, ncols=60))
import sys
for i in tqdm(range(3), bar_format="{desc}{n_fmt}", desc="outer ", mininterval=0, miniters=1):
    for j in tqdm(range(3), bar_format="{desc}{n_fmt}", desc="inner ", mininterval=0, miniters=1, leave=False):
        tqdm.write(f"{i} {j}", file=sys.stderr)
""",
    ),
    "ansi": (
        r"\\u001b\[1;31m",
        r"""
print("\x1b[1;31mred\x1b[0m \x1b[38;5;82m256\x1b[0m \x1b[48;2;10;20;30mtrue colour\x1b[0m \x1b[4mline\x1b[24m")
print("\x1b[2Kcleared\x1b[1A\x1b[5C moved \x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\ \x1b[?25l")
""",
    ),
    "unicode": (
        "ευχαριστώ",
        r"""
print("ευχαριστώ, 多謝, תודה, شكرًا, धन्यवाद, ขอบคุณ, e\u0301 o\u0308")
print("🙂 👩‍🔬 🏳️‍🌈 👍🏽 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0010ffff \ufeff\u200b\u202e\u202c \u2028 \u2029")
"ευχαριστώ 🙂"
""",
    ),
    "half_surrogates": (
        "escaped",
        r"""
print("a file name that is no UTF-8: \udc80\udcff escaped")
""",
    ),
    "control_characters": (
        r"\\u0007",
        r"""
print("".join(chr(code) for code in range(32) if chr(code) not in "\r\n\b"), "\x7f\x80\x85\x9b\xa0")
""",
    ),
    "long_line": ("x{5000}", "print('x' * 2_000_000)"),
    "no_binary_stdout": ("AttributeError", "import sys; sys.stdout.buffer.write(b'bytes')"),
    "file_descriptors": (
        "from a child",
        r"""
import os, subprocess, sys, time
print("from Python", flush=True)
os.write(1, b"from fd 1\n")
time.sleep(0.6)
subprocess.run(["sh", "-c", "echo from a child; sleep 0.6; echo its errors >&2"])
time.sleep(0.6)
""",
    ),
    "redirected": (
        "kept: inside",
        r"""
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as kept:
    print("inside")
print("kept:", kept.getvalue())
""",
    ),
    "logging_and_warnings": (
        "UserWarning: beware",
        r"""
import logging, warnings
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO, force=True)
logging.getLogger("training").warning("loss is %s", float("nan"))
logging.info("started")
warnings.warn("beware")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("caught")
logging.getLogger().setLevel(logging.WARNING)
""",
    ),
    "tty": (
        "False",
        r"""
import sys
print(sys.stdout.isatty(), sys.stdin.isatty(), sys.stdout.encoding, sys.stdout.errors)
""",
    ),
}
