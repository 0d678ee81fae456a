"""Places to run: one file per kind. Runs in the notebook's kernel, the server and the command line."""
