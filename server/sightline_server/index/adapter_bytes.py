"""An adapter as the bytes that a catalog stores, and back.

Rule: the log checks their SHA-256 before they come here; what is read is checked all the same, and never run.
"""

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adapter import Adapter, Hubness, Side

FORMAT = 1
"""Raised when a reader of the previous number could no longer read what is written."""
ARRAYS = ("photo_mean", "image_mean", "keys", "values", "hub_mean", "hub_factors", "hub_weights")
MATRICES = ("photo_matrix", "image_matrix")


def encode(adapter: Adapter) -> bytes:
    """The bytes of `adapter`: arrays in NumPy's format, and a description in JSON."""
    hub = adapter.hubness
    arrays: dict[str, NDArray[Any]] = {
        "photo_mean": adapter.photos.mean,
        "image_mean": adapter.images.mean,
        "keys": hub.keys,
        "values": hub.values,
        "hub_mean": hub.mean,
        "hub_factors": hub.factors,
        "hub_weights": hub.weights,
    }
    if adapter.photos.matrix is not None and adapter.images.matrix is not None:
        arrays |= {"photo_matrix": adapter.photos.matrix, "image_matrix": adapter.images.matrix}
    numbers = {"beta": adapter.beta, "scale": adapter.scale, "least": hub.least}
    about = json.dumps({"format": FORMAT, **numbers, "facts": dict(adapter.facts)}, sort_keys=True)
    file = io.BytesIO()
    np.savez(file, about=np.frombuffer(about.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def decode(content: bytes, dimension: int) -> Adapter:
    """The reverse of `encode`, for vectors of `dimension` numbers.

    Raises `SightlineError` of kind CONFIGURATION for other bytes.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop("about").tobytes())
        if about["format"] != FORMAT:
            raise unusable(f"it has format {about['format']}, this version of Sightline reads {FORMAT}")
        adapter = of_arrays(arrays, about)
    except SightlineError:
        raise
    except Exception as error:  # libraries raise many types for damaged bytes
        raise unusable("it cannot be read") from error
    if not fits(adapter, dimension):
        raise unusable("its arrays do not fit the catalog")
    return adapter


def of_arrays(arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> Adapter:
    """The adapter of its parts. Raises KeyError or ValueError where one is missing."""
    photo_mean, image_mean, keys, values, mean, factors, weights = (arrays[name] for name in ARRAYS)
    photo_matrix, image_matrix = (arrays.get(name) for name in MATRICES)
    hubness = Hubness(keys, values, mean, factors, weights, float(about["least"]))
    sides = Side(photo_mean, photo_matrix), Side(image_mean, image_matrix)
    return Adapter(*sides, hubness, float(about["beta"]), float(about["scale"]), about["facts"])


def fits(adapter: Adapter, dimension: int) -> bool:
    """Returns whether all arrays are of the right types and shapes, and finite."""
    hub, sides = adapter.hubness, (adapter.photos, adapter.images)
    floats = [hub.values, hub.mean, hub.factors, hub.weights]
    floats += [array for side in sides for array in (side.mean, side.matrix) if array is not None]
    if hub.keys.dtype != np.uint64 or hub.keys.shape != hub.values.shape or hub.keys.ndim != 1:
        return False
    if not all(each.dtype == np.float32 and np.isfinite(each).all() for each in floats):
        return False
    if any(side.mean.shape != (dimension,) for side in sides):
        return False
    if any(side.matrix is not None and (side.matrix.ndim, len(side.matrix)) != (2, dimension) for side in sides):
        return False
    space = adapter.images.dimension
    shapes = hub.mean.shape == (space,) and hub.factors.ndim == 2 and len(hub.factors) == space
    numbers = np.isfinite([adapter.beta, adapter.scale, hub.least]).all()
    return bool(adapter.photos.dimension == space and shapes and hub.weights.shape == (3,) and numbers)


def unusable(what: str) -> SightlineError:
    """The error of an adapter that cannot be used."""
    message = (
        f"the adapter of the catalog cannot be used: {what}; go back to an earlier revision (sightline catalog "
        "rollback), or remove the adapter (sightline adapt CATALOG --remove)"
    )
    return SightlineError(ErrorKind.CONFIGURATION, message)
