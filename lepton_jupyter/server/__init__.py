"""The Jupyter Server extension: what the sidebar sees and asks for, and outputs that find their way home.

Runs in the Jupyter server, on its event loop; everything that may take longer than a moment (the store, the
configuration, hosts) is done by threads. `hub` knows the jobs, `targets` the places, `stream` tells both to browsers,
`routes` answers their requests, `supervisor` follows jobs whose notebook's kernel is gone, `notebooks` puts outputs
into notebooks.
"""
