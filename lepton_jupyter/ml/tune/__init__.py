"""The best values for the numbers in a cell: each trial runs the cell with others, a study remembers them all.

Runs in the kernel that runs the cell; needs Python 3.10, and Optuna at use. `space` and `literals` say what can be
tuned, `trials` runs one, `study` keeps what came of them in a file and proposes values, `runner` runs them one after
another, `watching` sees the metric, `result` and `plots` show what came out, `finding` finds a rate or a batch.
"""
