"""Convolution as its definition says it: seven nested loops, nothing else.

The slowest rung, and the one that cannot be misread. Each loop variable is an index of the formula
in `tinysmooth.kernels.convolution.geometry`; the two gradients visit the same products and only add
them up at another place, because the derivative of ``x w`` by x is w and by w is x.

Plain Python: a 3x3 layer on one 32 x 32 image takes minutes. Use it on images of a few pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinysmooth.kernels.convolution.geometry import Pair, Shape, output_size

Product = tuple[tuple[int, int, int, int], tuple[int, int, int, int], tuple[int, int, int, int]]


def _products(
    x_shape: Shape, weight_shape: Shape, stride: Pair, padding: Pair
) -> Iterator[Product]:
    """Yield the indices into x, weight and out of every product of the sum."""
    batch, height, width, channels = x_shape
    filters, _, kernel_rows, kernel_columns = weight_shape
    rows, columns = output_size(height, width, (kernel_rows, kernel_columns), stride, padding)
    for n in range(batch):
        for i in range(rows):
            for j in range(columns):
                for r in range(kernel_rows):
                    for s in range(kernel_columns):
                        y = i * stride[0] + r - padding[0]
                        z = j * stride[1] + s - padding[1]
                        if 0 <= y < height and 0 <= z < width:
                            for c in range(channels):
                                for k in range(filters):
                                    yield (n, y, z, c), (k, c, r, s), (n, i, j, k)


def conv2d_forward(x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair) -> np.ndarray:
    """Return the convolution; arguments as in `im2col.conv2d_forward`."""
    kernel: Pair = (weight.shape[2], weight.shape[3])
    size = output_size(x.shape[1], x.shape[2], kernel, stride, padding)
    out = np.zeros((x.shape[0], *size, weight.shape[0]), x.dtype)
    for at_x, at_weight, at_out in _products(x.shape, weight.shape, stride, padding):
        out[at_out] += x[at_x] * weight[at_weight]
    return out


def conv2d_backward_data(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images; arguments as in `im2col.conv2d_backward_data`."""
    out = np.zeros(input_shape, grad.dtype)
    for at_x, at_weight, at_out in _products(input_shape, weight.shape, stride, padding):
        out[at_x] += grad[at_out] * weight[at_weight]
    return out


def conv2d_backward_weight(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters; arguments as in `im2col.conv2d_backward_weight`."""
    out = np.zeros(weight_shape, x.dtype)
    for at_x, at_weight, at_out in _products(x.shape, weight_shape, stride, padding):
        out[at_weight] += grad[at_out] * x[at_x]
    return out
