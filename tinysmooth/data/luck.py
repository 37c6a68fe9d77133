"""All random choices of an epoch, drawn at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Luck", "draw_luck"]

Array = np.ndarray[Any, Any]

# A box that is enlarged may be so much wider than high, or higher than wide.
_LOG_RATIO = float(np.log(4 / 3))


class Luck(NamedTuple):
    """Random choices for each image; those that nobody asked for are empty.

    Attributes
    ----------
    order : ndarray of int64, (N,)
        Which image comes when.
    tops, lefts : ndarray of int64, (N,)
        How far the image that comes at this place is moved.
    flips : ndarray of int64, (N,)
        1 where it is mirrored.
    boxes : ndarray of int64, (N, 4)
        Which part of it is enlarged: top, left, height, width in 1/256 of a pixel.
    gains : ndarray of int64, (N, 3)
        Its brightness, contrast and saturation in 1/256.
    """

    order: Array
    tops: Array
    lefts: Array
    flips: Array
    boxes: Array
    gains: Array


def draw_luck(
    rng: np.random.Generator | None,
    shape: tuple[int, ...],
    *,
    shuffle: bool,
    padding: int | None,
    flip: bool,
    zoom: float,
    colour: float = 0.0,
) -> Luck:
    """Draw for images of ``shape`` (N, H, W, C), always in the same order.

    ``padding=None`` augments nothing. The generator may be None if nothing is to be drawn.
    """
    total = shape[0]
    none = np.zeros(0, np.int64)
    order, tops, lefts, flips, boxes, gains = np.arange(total), none, none, none, none, none
    if rng is not None and shuffle:
        order = rng.permutation(total)
    if rng is not None and padding is not None:
        if zoom < 1:
            boxes = _draw_boxes(rng, total, shape[1:3], zoom)
        else:
            tops = rng.integers(0, 2 * padding + 1, total)
            lefts = rng.integers(0, 2 * padding + 1, total)
        flips = rng.integers(0, 2, total) * flip
        if colour > 0:
            drawn = rng.uniform(1 - colour, 1 + colour, (total, 3))
            gains = np.rint(256 * drawn).astype(np.int64)
    return Luck(order, tops, lefts, flips, boxes, gains)


def _draw_boxes(
    rng: np.random.Generator, count: int, shape: tuple[int, ...], smallest: float
) -> Array:
    """Draw boxes inside an image of ``shape``: top, left, height, width in 1/256 of a pixel."""
    area = rng.uniform(smallest, 1.0, count)
    ratio = np.exp(rng.uniform(-_LOG_RATIO, _LOG_RATIO, count))
    heights = np.minimum(1.0, np.sqrt(area / ratio))
    widths = np.minimum(1.0, np.sqrt(area * ratio))
    tops, lefts = rng.uniform(size=count) * (1 - heights), rng.uniform(size=count) * (1 - widths)
    height, width = shape
    boxes = np.stack((tops * height, lefts * width, heights * height, widths * width), axis=1)
    rounded: Array = np.rint(256 * boxes).astype(np.int64)
    return rounded
