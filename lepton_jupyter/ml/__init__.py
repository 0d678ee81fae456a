"""Models: made smaller and faster, packed, measured. An ordinary library; nothing here knows of jobs or hosts.

Runs in the kernel that holds the model, or in any Python. Heavy packages are imported at their first use.
"""
