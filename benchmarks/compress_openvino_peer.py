"""A model that NNCF quantized and OpenVINO runs: `python compress_openvino_peer.py FOLDER`, in the peers' environment.

FOLDER has model.onnx and data.npz. What it prints: its error in per cent, then for each batch size that it reads the
seconds that one answer took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what NNCF prints is no reply
    import nncf
    import openvino

    folder = Path(sys.argv[1])
    core = openvino.Core()
    with np.load(folder / "data.npz") as data:
        samples, pictures, digits = (data[name] for name in ("samples", "pictures", "digits"))
    calibration = nncf.Dataset([samples[at : at + 1] for at in range(len(samples))])
    model = nncf.quantize(core.read_model(folder / "model.onnx"), calibration, subset_size=len(samples))
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)
    answers = np.concatenate([compiled(part)[0] for part in np.array_split(pictures, max(len(pictures) // 500, 1))])
    print(json.dumps(100 * float((answers.argmax(1) != digits).mean())), file=replies, flush=True)
    requests = {}
    for line in sys.stdin:
        batch = int(line)
        if batch not in requests:
            requests[batch] = compiled.create_infer_request()
            requests[batch].set_input_tensor(openvino.Tensor(np.ascontiguousarray(pictures[:batch])))
        requests[batch].infer()  # not measured: the others' processes have not slept since their last turn
        began = time.perf_counter()
        requests[batch].infer()
        print(json.dumps(time.perf_counter() - began), file=replies, flush=True)


if __name__ == "__main__":
    main()
