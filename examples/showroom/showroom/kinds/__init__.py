"""One builder a kind: from a product's look to Blender objects standing on z=0, front towards -y."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .bedroom import bed, teddy
from .clocks import clock
from .devices import laptop, suitcase, tv
from .greenery import plant
from .seating import chair, couch
from .tableware import bottle, bowl, cup, vase, wine_glass

BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], list[Any]]] = {
    "chair": chair,
    "sofa": couch,
    "bed": bed,
    "vase": vase,
    "mug": cup,
    "bowl": bowl,
    "bottle": bottle,
    "wineglass": wine_glass,
    "plant": plant,
    "clock": clock,
    "teddy": teddy,
    "laptop": laptop,
    "tv": tv,
    "suitcase": suitcase,
}
