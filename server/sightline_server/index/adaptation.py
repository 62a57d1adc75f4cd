"""The adapter, weights and verdict that `sightline adapt` has fitted for a catalog, as the bytes that its log stores.

    Adaptation -> bytes -> one entry of the log, named by a revision -> Adaptation of the opened catalog
Rule: an adapter alone is stored as before. Other bytes have another format, so that an earlier version of
Sightline refuses them, instead of searching in another order.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline_server.catalog.adapters import read_adapter
from sightline_server.domain.verdict import FittedVerdict, Verdict, VerdictError
from sightline_server.domain.weights import FittedWeights, WeightsError, weights_of
from sightline_server.errors import SightlineError
from sightline_server.index import adapter_bytes
from sightline_server.index.adapter import Adapter
from sightline_server.index.adapter_bytes import unusable

FORMAT = 2
"""That of `adapter_bytes` is 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Adaptation:
    """The adapter of a catalog, the weights of its ranking, and its verdict; None for what it does not have."""

    adapter: Adapter | None = None
    weights: FittedWeights | None = None
    verdict: FittedVerdict | None = None

    @property
    def is_empty(self) -> bool:
        """True where there is none of them."""
        return self.adapter is None and self.weights is None and self.verdict is None


NO_ADAPTATION = Adaptation()


def encode(adaptation: Adaptation) -> bytes:
    """The bytes of `adaptation`; none of one without anything."""
    adapter = b"" if adaptation.adapter is None else adapter_bytes.encode(adaptation.adapter)
    about: dict[str, Any] = {"format": FORMAT}
    if adaptation.weights is not None:
        about["weights"] = {"values": adaptation.weights.weights.facts(), "facts": dict(adaptation.weights.facts)}
    if adaptation.verdict is not None:
        about["verdict"] = {"values": adaptation.verdict.verdict.facts(), "facts": dict(adaptation.verdict.facts)}
    if len(about) == 1:
        return adapter
    described = json.dumps(about, sort_keys=True)
    file = io.BytesIO()
    np.savez(file, about=np.frombuffer(described.encode(), np.uint8), adapter=np.frombuffer(adapter, np.uint8))
    return file.getvalue()


def decode(content: bytes, dimension: int) -> Adaptation:
    """The reverse of `encode`, for vectors of `dimension` numbers.

    Raises `SightlineError` of kind CONFIGURATION for other bytes.
    """
    if not content:
        return NO_ADAPTATION
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["format"] != FORMAT:
                return Adaptation(adapter_bytes.decode(content, dimension))
            adapter = file["adapter"].tobytes()
        weights, verdict = weights_in(about), verdict_in(about)
    except (WeightsError, VerdictError) as error:
        raise unusable(f"its weights or its verdict are invalid: {error}") from error
    except SightlineError:
        raise
    except Exception as error:  # libraries raise many types for damaged bytes
        raise unusable("it cannot be read") from error
    return Adaptation(adapter_bytes.decode(adapter, dimension) if adapter else None, weights, verdict)


def weights_in(about: dict[str, Any]) -> FittedWeights | None:
    """The weights in a description. Raises KeyError, TypeError, ValueError or `WeightsError`."""
    found = about.get("weights")
    return None if found is None else FittedWeights(weights_of(found["values"]), dict(found["facts"]))


def verdict_in(about: dict[str, Any]) -> FittedVerdict | None:
    """The verdict in a description. Raises KeyError, TypeError, ValueError or `VerdictError`."""
    found = about.get("verdict")
    return None if found is None else FittedVerdict(Verdict.parse(found["values"]), dict(found["facts"]))


def stored_adaptation(path: Path, sha256: str, dimension: int) -> Adaptation:
    """The adaptation of the revision of the catalog at `path` that names `sha256`; an empty name is that of nothing.

    Raises `SightlineError` of kind CONFIGURATION.
    """
    return decode(read_adapter(path, sha256), dimension) if sha256 else NO_ADAPTATION
