"""Convolution as one matrix product: the reference that every faster rung is held equal to.

Lay the window that each output pixel sees out as one row ("image to columns"), the filters as
columns, and the convolution is a matrix product (Chellapilla, Puri and Simard, 2006)::

    windows (N Ho Wo, C R S)   @   filters (C R S, K)   =   out (N Ho Wo, K)

Both gradients follow from the rules of a product ``out = windows @ filters``: the gradient of the
filters is ``windows.T @ grad``, and the gradient of the windows is ``grad @ filters.T``. A pixel of
x stands in several windows, so its gradient is the sum over all places where it stands.

NumPy, any shape, float32 or float64, exact up to rounding. It is also the route that float64 takes
at run time. The windows take R S times the memory of x: that is the price of this rung.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinysmooth.kernels.convolution.geometry import Pair, Shape


def _windows(x: np.ndarray, kernel: Pair, stride: Pair, padding: Pair) -> np.ndarray:
    """Return the view (N, Ho, Wo, C, R, S) of what each output pixel sees."""
    (top, left), (down, right) = padding, stride
    padded = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    return sliding_window_view(padded, kernel, axis=(1, 2))[:, ::down, ::right]


def conv2d_forward(x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair) -> np.ndarray:
    """Return the convolution of images with filters.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    weight : ndarray (K, C, R, S)
    stride, padding : (int, int)

    Returns
    -------
    ndarray (N, Ho, Wo, K), dtype of `x`
    """
    kernel: Pair = (weight.shape[2], weight.shape[3])
    windows = _windows(x, kernel, stride, padding)
    return np.tensordot(windows, weight, axes=((3, 4, 5), (1, 2, 3)))


def conv2d_with_statistics(
    x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return the convolution and, where they are to be had on the way, statistics for batch norm.

    Parameters
    ----------
    x, weight, stride, padding
        As in `conv2d_forward`.

    Returns
    -------
    out : ndarray (N, Ho, Wo, K), dtype of `x`
    statistics : (mean, var), ndarray (K,), float64, or None
        None here, and wherever `batch_norm_statistics` has to read `out` again.
    """
    return conv2d_forward(x, weight, stride, padding), None


def conv2d_backward_data(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images.

    Parameters
    ----------
    grad : ndarray (N, Ho, Wo, K)
        Gradient of the output.
    weight : ndarray (K, C, R, S)
    input_shape : (N, H, W, C)
    stride, padding : (int, int)

    Returns
    -------
    ndarray (N, H, W, C), dtype of `grad`
    """
    batch, height, width, channels = input_shape
    (top, left), (down, right) = padding, stride
    rows, columns = grad.shape[1:3]
    padded = np.zeros((batch, height + 2 * top, width + 2 * left, channels), grad.dtype)
    for r in range(weight.shape[2]):
        for s in range(weight.shape[3]):
            # Tap (r, s) of output pixel (i, j) stands on padded pixel (i down + r, j right + s).
            below = slice(r, r + down * (rows - 1) + 1, down)
            beside = slice(s, s + right * (columns - 1) + 1, right)
            padded[:, below, beside] += grad @ weight[:, :, r, s]
    return np.ascontiguousarray(padded[:, top : top + height, left : left + width])


def conv2d_backward_weight(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    grad : ndarray (N, Ho, Wo, K)
        Gradient of the output.
    weight_shape : (K, C, R, S)
    stride, padding : (int, int)

    Returns
    -------
    ndarray (K, C, R, S), dtype of `x`
    """
    windows = _windows(x, (weight_shape[2], weight_shape[3]), stride, padding)
    return np.tensordot(grad, windows, axes=((0, 1, 2), (0, 1, 2)))
