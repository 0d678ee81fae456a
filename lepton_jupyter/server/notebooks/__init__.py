"""Outputs find their way home: a job's outputs into its notebook, whoever has it open, or nobody.

Runs in Jupyter Server, on its event loop. For each notebook there is one writer at a time, and the server says who:
a shared document if a real-time-collaboration stack has it open (`document`), else one page that has it open (`tab`),
else the server itself, into the closed file (`file`). `claims` knows the pages, `errands` when something is due.

Writing replaces the cell's outputs whole by the fold of the job's journal, so doing it twice is harmless, and what one
writer began another may finish. Wiring: ``claims.on_open``, ``claims.on_wrote`` and ``hub.on_job`` go to `Errands`.
"""

from .claims import Claim, Claims, Client
from .errands import Errands
from .places import attached, follow_moves
from .record import Written
from .writing import Folded, Notebooks

__all__ = ["Claim", "Claims", "Client", "Errands", "Folded", "Notebooks", "Written", "attached", "follow_moves"]
