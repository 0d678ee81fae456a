"""The packages a notebook wants, and whether a host has what a cell needs. On the user's side.

`wanted` reads what is written beside the notebook, `preflight` compares the two sides; the host's part is in `agent`.
"""

from .preflight import Facts, Remark, asked, in_one_line, preflight
from .spec import EnvSpec, wanted

__all__ = ["EnvSpec", "Facts", "Remark", "asked", "in_one_line", "preflight", "wanted"]
