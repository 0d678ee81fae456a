"""NNCF and OpenVINO beside ours: the same weights in their hands, in a process of their environment that takes turns.

As their documentation has it: `nncf.quantize` of the model that OpenVINO read, calibrated, then compiled for latency.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ._environment import PYTHON, install, last

NAME = "NNCF/OpenVINO int8"


class OpenVino:
    """Within: the model in 8 bits answers. `why` says what is the matter if not; then nothing is to be asked."""

    def __init__(
        self, model: bytes, samples: np.ndarray, pictures: np.ndarray, digits: np.ndarray, *, wanted: bool = True
    ) -> None:
        self.why = install(("nncf", "openvino"), ["nncf", "openvino"]) if wanted else "not asked for"
        self.error = 0.0
        if self.why:
            return
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.onnx").write_bytes(model)
            np.savez(Path(folder, "data.npz"), samples=samples, pictures=pictures, digits=digits)
            self._words = tempfile.TemporaryFile()  # closed with the process
            self._process = subprocess.Popen(
                [PYTHON, Path(__file__).with_name("compress_openvino_peer.py"), folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                text=True,
                env=os.environ | {"NNCF_CI": "1"},  # no telemetry
            )
            self.error = self._answer() or 0.0

    def seconds(self, batch: int) -> float:
        """Of one answer to the first `batch` test pictures, as its process measured."""
        assert self._process.stdin is not None
        print(batch, file=self._process.stdin, flush=True)
        found = self._answer()
        if found is None:
            raise RuntimeError(self.why)
        return found

    def _answer(self) -> float | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._words.seek(0)
            self.why = f"{NAME} failed: {last(self._words.read().decode(errors='replace'))}"
            return None
        return float(json.loads(line))

    def __enter__(self) -> OpenVino:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if hasattr(self, "_process"):
            self._process.communicate()  # its input ends, and so does it
            self._words.close()
