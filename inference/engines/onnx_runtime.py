"""Loads ONNX Runtime so that it keeps to itself what runs here."""

import os
from typing import Any

SILENT = {"ORT_DISABLE_TELEMETRY": "1"}
"""Official builds tell Microsoft of sessions and devices, and leave a device's id in the home folder.

Read when the library is loaded; what its Python interface can switch off later is only a part of it.
"""


def loaded() -> Any:
    """The module `onnxruntime`. Raises ImportError. Who sets the variable themselves has their way."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    import onnxruntime

    return onnxruntime
