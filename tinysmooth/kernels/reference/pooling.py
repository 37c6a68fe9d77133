"""Max, average and global average pooling in NumPy.

A window has ``kernel_size = (R, S)`` taps. Tap ``(r, s)`` of all windows at once is one strided
slice of the padded image, so every function here is a loop over R * S taps::

    out[n, i, j, c] = reduce over (r, s) of padded[n, i * stride + r, j * stride + s, c]

The backward pass walks the same taps and adds each one's share to the same slice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]

Array = NDArray[Any]
Pair = tuple[int, int]


def max_pool2d_forward(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Array, Array]:
    """Return the maximum of each window, and which tap it was.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        Images.
    kernel_size, stride, padding : (int, int)
        Vertical and horizontal. Padding counts as minus infinity.

    Returns
    -------
    out : ndarray (N, Ho, Wo, C)
        The maxima. A NaN in a window makes its maximum NaN.
    argmax : ndarray (N, Ho, Wo, C), int8, int16 or int32
        Row-major index of the tap. The first maximum wins; of several NaN the last, as in PyTorch.
    """
    padded = _pad(x, padding, -np.inf)
    inside = _pad(np.ones((1, x.shape[1], x.shape[2], 1), bool), padding, False)
    shape = (x.shape[0], *pooled_size(x.shape, kernel_size, stride, padding), x.shape[3])
    out = np.full(shape, -np.inf, x.dtype)
    argmax = np.full(shape, -1, argmax_dtype(kernel_size))
    for index, tap in _taps(shape, kernel_size, stride):
        value = padded[tap]
        larger = (value > out) | np.isnan(value) | (argmax < 0)
        take = larger & inside[tap]
        out = np.where(take, value, out)
        argmax[take] = index
    return out, argmax


def max_pool2d_backward(
    grad: Array,
    argmax: Array,
    input_shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> Array:
    """Send the gradient of each window to the tap that was its maximum.

    Parameters
    ----------
    grad, argmax : ndarray (N, Ho, Wo, C)
        The gradient of the output, and the taps that `max_pool2d_forward` returned.
    input_shape : (N, H, W, C)
        Shape of the images.
    kernel_size, stride, padding : (int, int)
        As in the forward pass.

    Returns
    -------
    ndarray (N, H, W, C)
        The gradient of the images.
    """
    padded = _padded_zeros(input_shape, padding, grad.dtype)
    for index, tap in _taps(grad.shape, kernel_size, stride):
        padded[tap] += np.where(argmax == index, grad, 0)
    return _crop(padded, padding)


def avg_pool2d_forward(x: Array, kernel_size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return the mean of each window; padding counts as zeros.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        Images.
    kernel_size, stride, padding : (int, int)
        Vertical and horizontal.

    Returns
    -------
    ndarray (N, Ho, Wo, C)
        The means.
    """
    padded = _pad(x, padding, 0)
    shape = (x.shape[0], *pooled_size(x.shape, kernel_size, stride, padding), x.shape[3])
    total = np.zeros(shape, x.dtype)
    for _, tap in _taps(shape, kernel_size, stride):
        total += padded[tap]
    return total / math.prod(kernel_size)


def avg_pool2d_backward(
    grad: Array, input_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair
) -> Array:
    """Spread the gradient of each window evenly over its taps.

    Parameters
    ----------
    grad : ndarray (N, Ho, Wo, C)
        The gradient of the output.
    input_shape : (N, H, W, C)
        Shape of the images.
    kernel_size, stride, padding : (int, int)
        As in the forward pass.

    Returns
    -------
    ndarray (N, H, W, C)
        The gradient of the images.
    """
    padded = _padded_zeros(input_shape, padding, grad.dtype)
    share = grad / math.prod(kernel_size)
    for _, tap in _taps(grad.shape, kernel_size, stride):
        padded[tap] += share
    return _crop(padded, padding)


def global_avg_pool_forward(x: Array) -> Array:
    """Return the mean of each channel of each image, (N, H, W, C) to (N, C)."""
    return x.mean(axis=(1, 2), dtype=np.float64).astype(x.dtype)


def global_avg_pool_backward(grad: Array, input_shape: tuple[int, ...]) -> Array:
    """Spread the gradient (N, C) of each mean evenly over its pixels, (N, H, W, C)."""
    _, height, width, _ = input_shape
    share = grad / (height * width)
    return np.array(np.broadcast_to(share[:, None, None, :], input_shape), order="C")


def pooled_size(
    input_shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair
) -> Pair:
    """Return how many windows fit, vertically and horizontally, into images (N, H, W, C)."""
    height = (input_shape[1] + 2 * padding[0] - kernel_size[0]) // stride[0] + 1
    width = (input_shape[2] + 2 * padding[1] - kernel_size[1]) // stride[1] + 1
    return height, width


def argmax_dtype(kernel_size: Pair) -> type[np.signedinteger[Any]]:
    """Return the smallest integer type that holds every tap of a window."""
    taps = math.prod(kernel_size)
    return np.int8 if taps <= 2**7 else np.int16 if taps <= 2**15 else np.int32


def _taps(
    out_shape: tuple[int, ...], kernel_size: Pair, stride: Pair
) -> Iterator[tuple[int, tuple[slice, slice, slice]]]:
    """Yield each tap's row-major index and its slice of the padded images."""
    for r in range(kernel_size[0]):
        rows = slice(r, r + stride[0] * out_shape[1], stride[0])
        for s in range(kernel_size[1]):
            columns = slice(s, s + stride[1] * out_shape[2], stride[1])
            yield r * kernel_size[1] + s, (slice(None), rows, columns)


def _pad(x: Array, padding: Pair, value: float) -> Array:
    widths = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
    return np.pad(x, widths, constant_values=value)


def _padded_zeros(shape: tuple[int, ...], padding: Pair, dtype: np.dtype[Any]) -> Array:
    count, height, width, channels = shape
    return np.zeros((count, height + 2 * padding[0], width + 2 * padding[1], channels), dtype)


def _crop(padded: Array, padding: Pair) -> Array:
    height, width = padded.shape[1:3]
    inner = padded[:, padding[0] : height - padding[0], padding[1] : width - padding[1]]
    return np.ascontiguousarray(inner)
