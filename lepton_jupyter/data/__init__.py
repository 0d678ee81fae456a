"""What a cell needs and leaves: values, code, files, environments, cloud storage.

Runs in the notebook's kernel and, sent there with the agent, in the remote kernel: Python 3.9, the standard library
alone at import time, every other library at use. One folder or file for each kind of cargo; none imports another.
"""
