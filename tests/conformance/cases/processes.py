"""Threads, processes, workers."""

CASES: dict[str, tuple[str, str]] = {
    "threads": (
        "thread 2",
        r"""
import threading, time
def work(n):
    time.sleep(0.05 * n)
    print("thread", n, flush=True)
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("all joined")
""",
    ),
    "thread_displays": (
        "from a thread",
        r"""
import threading
from IPython.display import HTML, display
thread = threading.Thread(target=lambda: display(HTML("<b>from a thread</b>")))
thread.start()
thread.join()
""",
    ),
    "thread_pool": (
        r"\[0, 1, 4, 9\]",
        r"""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(lambda n: n * n, range(4))))
""",
    ),
    "fork": (
        "child 1",
        r"""
import multiprocessing, sys, time
forks = multiprocessing.get_context("fork")
def work(n, queue):
    sys.stdout.write(f"child {n}\n")
    sys.stderr.write(f"errors of {n}\n")
    queue.put(n * 10)
queue = forks.Queue()
for n in range(2):
    process = forks.Process(target=work, args=(n, queue))
    process.start()
    number = queue.get(timeout=60)
    process.join()
    time.sleep(0.3)
    print("got", number, "exit code", process.exitcode, flush=True)
""",
    ),
    "fork_pool": (
        "285",
        r"""
import multiprocessing
def square(n):
    return n * n
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(sum(pool.map(square, range(10))))
""",
    ),
    "fork_fails": (
        "exit code 1",
        r"""
import multiprocessing
def fail():
    raise ValueError("in the child")
process = multiprocessing.get_context("fork").Process(target=fail)
process.start()
process.join()
print("exit code", process.exitcode)
""",
    ),
    "spawn": (
        "spawned 3",
        r"""
%%writefile spawned.py
import os
def work(n):
    print("spawned", n, flush=True)
    return n * n
# %%
import multiprocessing, time, spawned
with multiprocessing.get_context("spawn").Pool(1) as pool:
    squares = pool.map(spawned.work, [3])
time.sleep(0.6)
squares
""",
    ),
    "spawn_of_a_cells_function": (
        "EOFError|BrokenProcessPool|AttributeError|terminated abruptly",
        r"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
def only_in_the_notebook(n):
    return n
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
    try:
        pool.submit(only_in_the_notebook, 1).result()
    except BaseException as error:
        print(type(error).__name__)
""",
    ),
    "process_pool": (
        r"\[1, 2, 6, 24\]",
        r"""
import math, multiprocessing
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    print(list(pool.map(math.factorial, [1, 2, 3, 4])))
""",
    ),
    "remote_traceback": (
        "RemoteTraceback",
        r"""
import multiprocessing
def fail(n):
    return 1 / n
with multiprocessing.get_context("fork").Pool(1) as pool:
    pool.map(fail, [0])
""",
    ),
    "data_loader": (
        r"\[28\.0, 92\.0\]",
        r"""
import torch
from torch.utils.data import DataLoader, TensorDataset
data = TensorDataset(torch.arange(16.0))
print([batch[0].sum().item() for batch in DataLoader(data, batch_size=8, num_workers=2)])
""",
    ),
    "os_fork": (
        "parent sees 7",
        r"""
import os
pid = os.fork()
if pid == 0:
    os._exit(7)
print("parent sees", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    ),
    "pipes": (
        "PIPED",
        r"""
import subprocess
print(subprocess.run("tr a-z A-Z", shell=True, input="piped", text=True, capture_output=True).stdout)
with subprocess.Popen(["sh", "-c", "echo one; echo two"], stdout=subprocess.PIPE, text=True) as process:
    for line in process.stdout:
        print("read:", line, end="", flush=True)
subprocess.run(["sh", "-c", "exit 3"], check=True)
""",
    ),
    "stdin_is_empty": (
        "b''",
        r"""
import subprocess
print(subprocess.run(["cat"], capture_output=True, timeout=20).stdout)
""",
    ),
}
