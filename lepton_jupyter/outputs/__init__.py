"""Events become outputs: shown in a cell now (a View), or folded into nbformat outputs for later.

Runs in the notebook's kernel, the server and the command line. `fold` is a pure function of the journal; a live view
is an optimisation of it.
"""

from .folding import Fold, Output, fold
from .kernel_view import KernelView
from .terminal_view import TerminalView, plain
from .text import outputs_text
from .view import View

__all__ = ["Fold", "KernelView", "Output", "TerminalView", "View", "fold", "outputs_text", "plain"]
