"""ONNX Runtime with its telemetry switched off: the only module of Sightline that imports `onnxruntime`.

    from sightline_models.onnx_runtime import onnxruntime

Rule: the switch is set before the library is loaded, because loading it already starts the uploader and writes a device
id below the home folder; `onnxruntime.disable_telemetry_events()` comes too late. The backend of the embedded engine
cannot import Sightline and has the same lines in `embedded/backend/onnx_runtime.py`.
"""

import os

# Overwritten, not defaulted: an inherited 0 would leave it on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
