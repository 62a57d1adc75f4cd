"""How alike two pictures are: structural similarity (Wang et al., 2004) on luma, with 8x8 windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WINDOW = 8


def _means(values: Any) -> Any:
    total = np.cumsum(np.cumsum(np.pad(values, ((1, 0), (1, 0))), axis=0), axis=1)
    w = WINDOW
    return (total[w:, w:] - total[:-w, w:] - total[w:, :-w] + total[:-w, :-w]) / (w * w)


def ssim(one: Path, other: Path) -> float:
    """The mean SSIM of two pictures of one size, 1.0 when they are equal. Raises ValueError for other sizes."""
    a, b = (np.asarray(Image.open(path).convert("L"), dtype=np.float64) for path in (one, other))
    if a.shape != b.shape:
        raise ValueError(f"{one} is {a.shape}, {other} is {b.shape}")
    mean_a, mean_b = _means(a), _means(b)
    var_a, var_b = _means(a * a) - mean_a**2, _means(b * b) - mean_b**2
    cov = _means(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(value.mean())
