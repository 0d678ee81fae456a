"""What turns TensorFlow graphs into .tflite files. Runs in a child process, which knows nothing of this package.

TensorFlow's converter keeps memory with each call (tensorflow#122598), and a notebook's kernel lives long. The child
serves one request after the other until its input ends, nobody asks for IDLE seconds, or it has served MANY.
Each message is a line of JSON, then `size` bytes.
"""

from __future__ import annotations

import json
import os
import select
from typing import Any, BinaryIO

#: Seconds.
IDLE = 60
MANY = 25


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    for _ in range(MANY):
        if not select.select([source], [], [], IDLE)[0]:
            return
        line = source.readline()
        if not line:
            return
        asked = json.loads(line)
        data = _exactly(source, asked["size"])
        try:
            answer, error = convert(data, asked["inputs"], asked["outputs"], asked["bits"]), ""
        except Exception as failure:  # noqa: BLE001 - the converter raises what it likes; all is told to the parent
            answer, error = b"", f"{type(failure).__name__}: {failure}"
        sink.write(json.dumps({"size": len(answer), "error": error}).encode() + b"\n" + answer)
        sink.flush()


def _exactly(source: BinaryIO, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = source.read(size - len(found))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


def convert(data: bytes, inputs: list[str], outputs: list[str], bits: int) -> bytes:
    """A frozen graph, its inputs and answers by name, as a .tflite file with weights of 32, 16 or 8 bits."""
    import tensorflow

    tf: Any = tensorflow
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(data)
    whole = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
    ends = [[whole.graph.get_tensor_by_name(name) for name in names] for names in (inputs, outputs)]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([whole.prune(*ends)])
    if bits < 32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if bits == 16:
        converter.target_spec.supported_types = [tf.float16]
    found: bytes = converter.convert()
    return found


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what TensorFlow prints is no reply
    serve(os.fdopen(0, "rb", buffering=0), replies)  # without a buffer, select() sees all that waits
