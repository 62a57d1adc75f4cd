"""ONNX Runtime with its telemetry switched off: the only module of the backend that imports `onnxruntime`.

Rule: the switch is set here too and not only in the engine's environment, because a Triton that Sightline has not
started may use this backend. Loading the library already starts the uploader, so the switch comes first.
"""

import os

# Overwritten, not defaulted: an inherited 0 would leave it on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
