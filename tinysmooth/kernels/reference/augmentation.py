"""Pixels on their way to the model: moving, mirroring and normalising, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["crop_and_flip", "scale_pixels"]

Array = NDArray[Any]


def crop_and_flip(images: Array, tops: Array, lefts: Array, flips: Array, padding: int) -> Array:
    """Crop each image at its own place out of its reflected surroundings; mirror some.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        Pixels.
    tops, lefts : ndarray of int64, shape (N,)
        Upper left corner of the crop in the padded image, 0 to ``2 * padding``; ``padding`` leaves
        the image where it is.
    flips : ndarray of int64, shape (N,)
        1 to mirror the crop left to right, 0 to leave it.
    padding : int
        Pixels on each side, fewer than H and W. The reflection does not repeat the edge
        (``numpy.pad`` with ``mode="reflect"``).

    Returns
    -------
    ndarray of uint8, shape (N, H, W, C)
    """
    _, height, width, _ = images.shape
    around = (padding, padding)
    padded = np.pad(images, ((0, 0), around, around, (0, 0)), mode="reflect")
    out = np.empty_like(images)
    for i, (top, left, flip) in enumerate(zip(tops, lefts, flips, strict=True)):
        crop = padded[i, top : top + height, left : left + width]
        out[i] = crop[:, ::-1] if flip else crop
    return out


def scale_pixels(images: Array, table: Array) -> Array:
    """Look every pixel up in the table of its channel.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        Pixels.
    table : ndarray of float32, shape (C, 256)
        What each value of each channel becomes.

    Returns
    -------
    ndarray of float32, shape (N, H, W, C)
    """
    return table[np.arange(images.shape[3]), images]
