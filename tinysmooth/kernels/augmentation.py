"""Pixels on their way to the model: moving, mirroring and normalising, compiled.

Nothing is padded: a row outside the image is read from where its reflection lies inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.threads import run_parallel

__all__ = ["crop_and_flip", "scale_pixels"]

Array = NDArray[Any]

# Rough cost of one value in nanoseconds, for the choice of the number of threads.
_CROP_COST = 0.5
_SCALE_COST = 0.8


@jit
def _reflected(position, length):  # type: ignore[no-untyped-def]
    """Return where the pixel at ``position``, perhaps outside [0, length), is mirrored from."""
    if position < 0:
        return -position
    if position >= length:
        return 2 * length - 2 - position
    return position


@jit
def _crop_and_flip(  # type: ignore[no-untyped-def]
    part, parts, images, tops, lefts, flips, padding, out
):
    count, height, width, channels = images.shape
    for i in range(count * part // parts, count * (part + 1) // parts):
        first = lefts[i] - padding
        for row in range(height):
            source = _reflected(row + tops[i] - padding, height)
            for column in range(width):
                x = width - 1 - column if flips[i] else column
                x = _reflected(x + first, width)
                for channel in range(channels):
                    out[i, row, column, channel] = images[i, source, x, channel]


@jit
def _scale_pixels(part, parts, images, table, out):  # type: ignore[no-untyped-def]
    count, height, width, channels = images.shape
    for i in range(count * part // parts, count * (part + 1) // parts):
        for row in range(height):
            for column in range(width):
                for channel in range(channels):
                    out[i, row, column, channel] = table[channel, images[i, row, column, channel]]


def crop_and_flip(images: Array, tops: Array, lefts: Array, flips: Array, padding: int) -> Array:
    """Crop each image at its own place out of its reflected surroundings; mirror some.

    See `tinysmooth.kernels.reference.augmentation.crop_and_flip`.
    """
    out = memory.empty(images.shape, np.uint8)
    run_parallel(
        _crop_and_flip, images, tops, lefts, flips, padding, out, work=_CROP_COST * images.size
    )
    return out


def scale_pixels(images: Array, table: Array) -> Array:
    """Look every pixel up in the table of its channel.

    See `tinysmooth.kernels.reference.augmentation.scale_pixels`.
    """
    out = memory.empty(images.shape, np.float32)
    run_parallel(_scale_pixels, images, table, out, work=_SCALE_COST * images.size)
    return out
