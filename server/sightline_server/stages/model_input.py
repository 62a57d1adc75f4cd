"""An image -> a model's input, as the model's `Preprocess` says. Pure.

Rule: the only place where a model's input is made, for query photos and catalog images alike.
"""

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.preprocess import Colour, Preprocess
from sightline_server.stages.resample import Window, resample

Pixels = NDArray[np.uint8]


def model_input(frame: Frame, part: Pixels, width: int, height: int, preprocess: Preprocess) -> ModelInput:
    """`part` uint8 [H,W,3] of the frame's pixels as the input of a model of `width` x `height` pixels.

    The pixels are C-contiguous and never those of the frame.
    """
    place = preprocess.place(part.shape[1], part.shape[0], width, height)
    window = Window.of(place)
    visible = frame.in_srgb(resample(part, window, preprocess.resampler))
    if visible.shape[:2] != (height, width):
        canvas = filled(height, width, preprocess.fill)
        left, top = max(0, place.left), max(0, place.top)
        canvas[top : top + visible.shape[0], left : left + visible.shape[1]] = visible
        visible = canvas
    if preprocess.colour is Colour.BGR:
        visible = visible[..., ::-1]
    return ModelInput(np.ascontiguousarray(visible), place)


def filled(height: int, width: int, colour: tuple[int, int, int]) -> Pixels:
    """An image [height,width,3] of one colour."""
    red, green, blue = colour
    # Numpy repeats one byte much faster than three.
    return np.full((height, width, 3), red if red == green == blue else colour, np.uint8)
