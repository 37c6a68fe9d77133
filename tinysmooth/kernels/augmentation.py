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

__all__ = ["crop_and_flip", "recolour", "scale_pixels", "zoom_and_flip"]

Array = NDArray[Any]

# Rough cost of one value in nanoseconds, for the choice of the number of threads.
_CROP_COST = 0.5
_SCALE_COST = 0.8
_ZOOM_COST = 2.0
_RECOLOUR_COST = 3.0


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
def _zoom_and_flip(part, parts, images, boxes, flips, out):  # type: ignore[no-untyped-def]
    count, height, width, channels = images.shape
    rows, columns = out.shape[1:3]
    for i in range(count * part // parts, count * (part + 1) // parts):
        top, left, box_height, box_width = boxes[i]
        for row in range(rows):
            y = top + (2 * row + 1) * box_height // (2 * rows) - 128
            y = min(max(y, 0), 256 * (height - 1))
            above, down = y >> 8, y & 255
            below = min(above + 1, height - 1)
            for column in range(columns):
                x = left + (2 * column + 1) * box_width // (2 * columns) - 128
                x = min(max(x, 0), 256 * (width - 1))
                before, along = x >> 8, x & 255
                after = min(before + 1, width - 1)
                target = columns - 1 - column if flips[i] else column
                for channel in range(channels):
                    upper = (256 - along) * images[i, above, before, channel]
                    upper += along * images[i, above, after, channel]
                    lower = (256 - along) * images[i, below, before, channel]
                    lower += along * images[i, below, after, channel]
                    value = (256 - down) * upper + down * lower
                    out[i, row, target, channel] = (value + 32768) >> 16


@jit
def _recolour(part, parts, images, gains, out):  # type: ignore[no-untyped-def]
    count, height, width, channels = images.shape
    unit = channels << 24
    for i in range(count * part // parts, count * (part + 1) // parts):
        brightness, contrast, saturation = gains[i]
        total = 0
        for row in range(height):
            for column in range(width):
                for channel in range(channels):
                    total += images[i, row, column, channel]
        mean = (256 - contrast) * 256 * (total // (height * width))
        for row in range(height):
            for column in range(width):
                grey = 0
                for channel in range(channels):
                    grey += images[i, row, column, channel]
                for channel in range(channels):
                    value = saturation * channels * images[i, row, column, channel]
                    value += (256 - saturation) * grey
                    value = brightness * (contrast * value + mean) + unit // 2
                    out[i, row, column, channel] = min(max(value // unit, 0), 255)


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


def zoom_and_flip(
    images: Array, boxes: Array, flips: Array, size: tuple[int, int] | None = None
) -> Array:
    """Bring a box of each image to one size, its own or another; mirror some.

    See `tinysmooth.kernels.reference.augmentation.zoom_and_flip`.
    """
    count, height, width, channels = images.shape
    out = memory.empty((count, *(size or (height, width)), channels), np.uint8)
    run_parallel(_zoom_and_flip, images, boxes, flips, out, work=_ZOOM_COST * out.size)
    return out


def recolour(images: Array, gains: Array) -> Array:
    """Change brightness, contrast and saturation of each image.

    See `tinysmooth.kernels.reference.augmentation.recolour`.
    """
    out = memory.empty(images.shape, np.uint8)
    run_parallel(_recolour, images, gains, out, work=_RECOLOUR_COST * images.size)
    return out


def scale_pixels(images: Array, table: Array) -> Array:
    """Look every pixel up in the table of its channel.

    See `tinysmooth.kernels.reference.augmentation.scale_pixels`.
    """
    out = memory.empty(images.shape, np.float32)
    run_parallel(_scale_pixels, images, table, out, work=_SCALE_COST * images.size)
    return out
