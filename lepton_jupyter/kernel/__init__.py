"""The remote kernel's own process: ipykernel, what a cell brings along and leaves behind, the object `lepton`.

Runs on the host, in the interpreter that runs the user's cells; Python 3.9, heavy libraries imported at use.
"""
