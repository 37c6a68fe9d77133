"""What a recipe may do to the training images before a step: mix them, begin with small ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinysmooth.checks import check_int, describe
from tinysmooth.losses import loss_floor

__all__ = ["SIZE_STEP", "Mixture", "epoch_size", "least_loss", "mix", "shrink"]

Array = np.ndarray[Any, Any]

_FULL_SIZE_FROM = 0.75  # share of the epochs after which the images have their full size
_CHUNK = 256  # images resized at once: bounds the memory

SIZE_STEP = 8
"""Pixels by which images grow if nothing else is asked for: the networks halve them three times."""


class Mixture(NamedTuple):
    """Images mixed in pairs.

    Attributes
    ----------
    images : ndarray, (N, ...)
    partners : ndarray of int64, (N,)
        Which image of the batch was mixed in.
    shares : ndarray of float64, (N,)
        How much of each image is left, in [1/2, 1]: the first of a pair always prevails.
    """

    images: Array
    partners: Array
    shares: Array


def mix(images: Array, alpha: float, rng: np.random.Generator) -> Mixture:
    """Mix each image of a batch with another one of it (Zhang et al. 2018, mixup).

    Parameters
    ----------
    images : ndarray of float, (N, ...)
    alpha : float
        Positive; the shares are drawn from Beta(alpha, alpha), the larger one for the image.
    rng : numpy.random.Generator
    """
    count = len(images)
    drawn = rng.beta(alpha, alpha, count)
    shares = np.maximum(drawn, 1.0 - drawn)
    partners = rng.permutation(count)
    # In the order of memory, which is channels-last for pictures.
    rows = images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
    weight = shares.astype(images.dtype).reshape(count, *[1] * (images.ndim - 1))
    mixed = rows[partners]
    mixed *= 1 - weight
    mixed += rows * weight
    return Mixture(mixed.transpose(0, 3, 1, 2) if images.ndim == 4 else mixed, partners, shares)


def least_loss(targets: Array, num_classes: int, label_smoothing: float) -> float:
    """Least loss that the targets of a batch allow: the mean entropy of what is aimed at."""
    if targets.ndim == 1:
        return float(loss_floor(num_classes, label_smoothing))
    aims = (1 - label_smoothing) * targets + label_smoothing / num_classes
    return float(-np.mean(np.sum(aims * np.log(np.where(aims > 0, aims, 1.0)), axis=1)))


def epoch_size(epoch: int, epochs: int, start: int | None, size: int, step: int = SIZE_STEP) -> int:
    """Side of the training images in epoch ``epoch``, counted from 0.

    Grows from ``start`` in steps of ``step`` pixels and is ``size`` during the last quarter of
    the epochs, the last one at least (progressive resizing, as in Howard's DAWNBench entry of
    2018).

    Examples
    --------
    >>> [epoch_size(epoch, 8, 40, 64) for epoch in range(8)]
    [40, 40, 48, 48, 56, 56, 64, 64]
    >>> [epoch_size(epoch, 8, 40, 64, 16) for epoch in range(8)]
    [40, 40, 40, 56, 56, 56, 64, 64]
    >>> epoch_size(0, 8, None, 64)
    64
    """
    growing = min(_FULL_SIZE_FROM * epochs, epochs - 1)
    if start is None or start >= size or epoch >= growing:
        return size
    sizes = range(start, size, step)
    return sizes[min(len(sizes) - 1, int(epoch / growing * len(sizes)))]


def shrink(images: Array, size: int) -> Array:
    """Make images smaller by averaging: each new pixel is the mean of the area it covers.

    Images that are no larger already come back as they are.

    Parameters
    ----------
    images : ndarray of uint8, (N, C, H, W)
    size : int
        New height and width.

    Returns
    -------
    ndarray of uint8, (N, C, size, size), channels-last in memory

    Raises
    ------
    TypeError, ValueError
        If the images are no uint8 array of that shape, or the size is no integer >= 1.

    Examples
    --------
    >>> image = np.array([[[[0, 2], [4, 6]]]], np.uint8)
    >>> shrink(image, 1).item()
    3
    """
    size = check_int("shrink", "size", size, minimum=1)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise TypeError(f"shrink: images is {describe(images)}; expected a uint8 array")
    if images.ndim != 4:
        raise ValueError(f"shrink: images is {describe(images)}; expected shape (N, C, H, W)")
    count, channels, height, width = images.shape
    if max(height, width) <= size:
        return images
    rows, columns = _coverage(height, size), _coverage(width, size)
    out = np.empty((count, size, size, channels), np.uint8)
    for first in range(0, count, _CHUNK):
        part = images[first : first + _CHUNK].astype(np.float32)
        smaller = np.matmul(np.matmul(rows, part), columns.T)
        out[first : first + _CHUNK] = np.rint(smaller).transpose(0, 2, 3, 1)
    return out.transpose(0, 3, 1, 2)


def _coverage(length: int, size: int) -> Array:
    """Share of each of ``length`` old pixels in each of ``size`` new ones, (size, length)."""
    edges = np.arange(size + 1) * (length / size)
    old = np.arange(length)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    shares: Array = (np.maximum(overlap, 0) * (size / length)).astype(np.float32)
    return shares
