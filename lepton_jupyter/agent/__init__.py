"""The program that owns a remote kernel. Runs on the host that computes; this folder travels there as a zip.

Standard library, plus the pyzmq and jupyter_client that every ipykernel brings. Python 3.9.
"""
