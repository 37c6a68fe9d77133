"""Pixels on their way to the model: moving, mirroring and normalising, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["crop_and_flip", "recolour", "scale_pixels", "zoom_and_flip"]

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


def zoom_and_flip(
    images: Array, boxes: Array, flips: Array, size: tuple[int, int] | None = None
) -> Array:
    """Bring a box of each image to one size, its own or another; mirror some.

    Bilinear interpolation in integers, 256 steps to a pixel, so that every machine computes the
    same bytes: pixel r of R looks at ``top + (r + 1/2) * height / R - 1/2``, inside the image.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        Pixels.
    boxes : ndarray of int64, shape (N, 4)
        Top, left, height and width of the boxes, in 1/256 of a pixel.
    flips : ndarray of int64, shape (N,)
        1 to mirror the result left to right, 0 to leave it.
    size : pair of int, optional
        Rows and columns of the result, (R, S); those of the images if left out.

    Returns
    -------
    ndarray of uint8, shape (N, R, S, C)
    """
    count, *own_size, channels = images.shape
    rows, columns = size or own_size
    out = np.empty((count, rows, columns, channels), np.uint8)
    for i, (top, left, height, width) in enumerate(boxes):
        picture = images[i].astype(np.int64)
        picture = _interpolate(picture, int(top), int(height), rows)
        picture = picture.swapaxes(0, 1)
        picture = _interpolate(picture, int(left), int(width), columns).swapaxes(0, 1)
        picture = (picture + (1 << 15)) >> 16
        out[i] = picture[:, ::-1] if flips[i] else picture
    return out


def _interpolate(picture: Array, start: int, extent: int, samples: int) -> Array:
    """Sample ``picture`` along its first axis, 256 times too large."""
    length = len(picture)
    place = start + (2 * np.arange(samples) + 1) * extent // (2 * samples) - 128
    place = np.clip(place, 0, 256 * (length - 1))
    first, share = place // 256, (place % 256)[:, None, None]
    second = np.minimum(first + 1, length - 1)
    mixed: Array = (256 - share) * picture[first] + share * picture[second]
    return mixed


def recolour(images: Array, gains: Array) -> Array:
    """Change brightness, contrast and saturation of each image.

    A pixel x of grey g (the mean of its channels) in an image whose mean grey is m becomes
    ``brightness (contrast (saturation x + (1 - saturation) g) + (1 - contrast) m)``, rounded and
    kept within 0 to 255; in integers, so that every machine computes the same bytes.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        Pixels.
    gains : ndarray of int64, shape (N, 3)
        Brightness, contrast and saturation in 1/256; 256 leaves an image as it is.

    Returns
    -------
    ndarray of uint8, shape (N, H, W, C)
    """
    _, height, width, channels = images.shape
    brightness, contrast, saturation = (gain[:, None, None, None] for gain in gains.T)
    pixels = images.astype(np.int64)
    grey = pixels.sum(axis=3, keepdims=True)  # times the number of channels, like all below
    mean = grey.sum(axis=(1, 2), keepdims=True) // (height * width)
    mixed = saturation * channels * pixels + (256 - saturation) * grey
    spread = brightness * (contrast * mixed + (256 - contrast) * 256 * mean)
    unit = channels << 24
    return np.clip((spread + unit // 2) // unit, 0, 255).astype(np.uint8)


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
