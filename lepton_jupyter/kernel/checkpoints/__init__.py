"""Checkpoints of a cell's training, kept on the host without a pickle, for ``--resume``. In the remote kernel.

What a cell keeps is written in the background, one folder a checkpoint, and is there whole or not at all; random
numbers go on as they would have. A training that was killed and goes on has the losses of one that was not.
"""

from .bucket import Bucket
from .folder import Folder
from .saving import Checkpoints

__all__ = ["Bucket", "Checkpoints", "Folder"]
