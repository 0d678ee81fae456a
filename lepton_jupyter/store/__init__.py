"""The one truth about jobs: a SQLite file that every notebook, server and command line of a user shares.

Runs in the notebook's kernel, the server and the command line. Any number of processes and threads may use one file:
every write is one transaction that takes SQLite's write lock at its start, so what is read in it cannot be stale.

A job has **one writer at a time**, by a lease that lapses: whoever holds it follows the job's events and advances it.
The others read. One whose process is seen to be dead holds nothing. A clock that jumps never strands a job: a lease
that ends later than it was given for has lapsed.

Every change of a job gets the next number of one count, so a reader that knows number N asks ``watch(N)`` and misses
nothing.
"""

from .holders import new_holder
from .jobs import Change, JobStore
from .stored import Stored

__all__ = ["Change", "JobStore", "Stored", "new_holder"]
