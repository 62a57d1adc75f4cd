"""Ray for tests. It is installed by `pip install 'ray[data]'`.

Where it is missing, its tests are skipped and say so, unless SIGHTLINE_REQUIRE_RAY is set.
"""

import importlib.util
import os

import pytest

REQUIRED = "SIGHTLINE_REQUIRE_RAY"


def require_ray() -> None:
    """Skips the test where Ray is not installed."""
    if importlib.util.find_spec("ray") is not None:
        return
    text = "the package ray, with the extra data, is not installed"
    if os.environ.get(REQUIRED):
        pytest.fail(text)
    pytest.skip(text)
