"""The definition's loops, compiled: what a compiler alone makes of convolution.

The same sums as `tinysmooth.kernels.convolution.definition`, in an order that the memory likes. The
innermost loop runs over neighbouring floats (the filters, after the weights were turned to
(R, S, C, K)), so that LLVM computes eight of them at once. That makes it hundreds of times faster
than Python, and still several times slower than a matrix product: for every multiply-add it loads
one weight and loads and stores one sum. What is missing is a tile of sums that stays in registers,
and that is what `tinysmooth.kernels.microkernel` is about.

Any shape, float32 or float64. The images are shared out to the threads; the gradient of the
filters, a sum over images, shares out the filters' rows and columns of taps.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.geometry import Pair, Shape, output_size
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.threads import run_parallel


@jit
def _forward(
    part: int,
    parts: int,
    x: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    down: int,
    right: int,
    top: int,
    left: int,
) -> None:
    batch, height, width, channels = x.shape
    kernel_rows, kernel_columns, _, filters = weight.shape
    for n in range(batch * part // parts, batch * (part + 1) // parts):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                for r in range(kernel_rows):
                    y = i * down + r - top
                    for s in range(kernel_columns):
                        z = j * right + s - left
                        if 0 <= y < height and 0 <= z < width:
                            for c in range(channels):
                                pixel = x[n, y, z, c]
                                for k in range(filters):
                                    out[n, i, j, k] += pixel * weight[r, s, c, k]


@jit
def _backward_data(
    part: int,
    parts: int,
    grad: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    down: int,
    right: int,
    top: int,
    left: int,
) -> None:
    batch, height, width, channels = out.shape
    filters, kernel_rows, kernel_columns, _ = weight.shape
    for n in range(batch * part // parts, batch * (part + 1) // parts):
        for i in range(grad.shape[1]):
            for j in range(grad.shape[2]):
                for r in range(kernel_rows):
                    y = i * down + r - top
                    for s in range(kernel_columns):
                        z = j * right + s - left
                        if 0 <= y < height and 0 <= z < width:
                            for k in range(filters):
                                above = grad[n, i, j, k]
                                for c in range(channels):
                                    out[n, y, z, c] += above * weight[k, r, s, c]


@jit
def _backward_weight(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    out: np.ndarray,
    down: int,
    right: int,
    top: int,
    left: int,
) -> None:
    batch, height, width, channels = x.shape
    kernel_rows, kernel_columns, _, filters = out.shape
    taps = kernel_rows * kernel_columns
    for tap in range(taps * part // parts, taps * (part + 1) // parts):
        r, s = divmod(tap, kernel_columns)
        for n in range(batch):
            for i in range(grad.shape[1]):
                y = i * down + r - top
                for j in range(grad.shape[2]):
                    z = j * right + s - left
                    if 0 <= y < height and 0 <= z < width:
                        for c in range(channels):
                            pixel = x[n, y, z, c]
                            for k in range(filters):
                                out[r, s, c, k] += pixel * grad[n, i, j, k]


def conv2d_forward(x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair) -> np.ndarray:
    """Return the convolution; arguments as in `im2col.conv2d_forward`."""
    kernel: Pair = (weight.shape[2], weight.shape[3])
    size = output_size(x.shape[1], x.shape[2], kernel, stride, padding)
    out = np.zeros((x.shape[0], *size, weight.shape[0]), x.dtype)
    turned = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
    run_parallel(_forward, x, turned, out, *stride, *padding, work=out.size * weight[0].size / 4)
    return out


def conv2d_backward_data(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images; arguments as in `im2col.conv2d_backward_data`."""
    out = np.zeros(input_shape, grad.dtype)
    turned = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    work = grad.size * weight[0].size / 4
    run_parallel(_backward_data, grad, turned, out, *stride, *padding, work=work)
    return out


def conv2d_backward_weight(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters; arguments as in `im2col.conv2d_backward_weight`."""
    filters, channels, rows, columns = weight_shape
    out = np.zeros((rows, columns, channels, filters), x.dtype)
    work = grad.size * rows * columns * channels / 4
    run_parallel(_backward_weight, x, grad, out, *stride, *padding, work=work)
    return np.ascontiguousarray(out.transpose(3, 2, 0, 1))
