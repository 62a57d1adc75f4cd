"""Surroundings of loading a model: no telemetry, no hub for a folder, and errors as one sentence.

Place in the flow: before and around every call of transformers and timm. The one rule: the switches are set before
these libraries are imported, because they read them once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sightline_models.errors import ModelError
from sightline_models.export_source import ExportSource, Library


def prepare(source: ExportSource) -> None:
    """Sets the switches of the libraries; called before they are imported."""
    # Overwritten, not defaulted: an inherited 0 would leave it on.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if source.folder:
        os.environ["HF_HUB_OFFLINE"] = "1"


@contextmanager
def loading(source: ExportSource) -> Iterator[None]:
    """Turns whatever a library raises while it is imported or loads the model into a `ModelError`."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = _reason(error)
        where = "" if source.folder else "; the hub must be reachable, and `hf auth login` opens models that ask for it"
        if source.library is Library.TIMM and not source.folder:
            where += "; `python -c \"import timm; print(timm.list_pretrained('*vit*'))\"` lists timm's"
        raise ModelError(f"{source.text}: {source.library} cannot load it ({reason}){where}") from error


def _reason(error: BaseException) -> str:
    """The first line of an error, and that of the one that it began with.

    transformers reports a package that cannot be imported as a missing class.
    """
    first = error
    while (cause := first.__cause__) is not None:
        first = cause
    reasons = [next(iter(str(each).strip().splitlines()), type(each).__name__) for each in (error, first)]
    if "torchvision::" in reasons[1]:
        reasons.append("torchvision is not the one of this torch: install both from one index")
    return "; ".join(dict.fromkeys(reasons))
