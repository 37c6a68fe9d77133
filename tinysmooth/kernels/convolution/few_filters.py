"""Few filters: neighbouring windows side by side in one vector.

The windows route gives each filter a lane of a vector, sixteen at a time: with eight filters half
of the lanes would work for nothing. But the eight results of a window and those of the next one are
neighbours in memory, so they may as well be the sixteen results of *one* window, which is a step
wider and meets filters of two kinds::

    filters W of 3 taps              wider filters of 4 taps
    window j      a b c              W of window j        w0 w1 w2  0
    window j + 1    b c d            W of window j + 1     0 w0 w1 w2

This is an ordinary convolution with 2 K filters, one column more, and a step of two windows, and
its result (N, Ho, Wo / 2, 2 K) is (N, Ho, Wo, K) in the same memory. It takes (4 / 3) / 2 of the
time; 5x5 filters take (6 / 5) / 2. The gradient of the wider filters holds that of W twice, for the
even and for the odd windows, to be added up; what it has in the place of the zeros is dropped.

The gradient of x, at a step of one pixel, is a convolution of grad with the filters turned by 180
degrees, whose results are the channels: a few channels are put together in the same way.

The zeros are multiplied: a pixel that is not finite reaches the windows beside those that cover it.
"""

from __future__ import annotations

import math

import numpy as np

from tinysmooth.kernels.convolution import windows_plans, windows_route
from tinysmooth.kernels.convolution.geometry import Pair, Shape, Work
from tinysmooth.kernels.vectors import LANES


def windows_together(filters: int, across: int, columns: int, step: int) -> int:
    """Return how many windows to put in a vector: the most that fit, if that saves products.

    Examples
    --------
    >>> windows_together(8, 24, 5, 1), windows_together(3, 24, 5, 1), windows_together(8, 25, 5, 1)
    (2, 4, 1)
    >>> windows_together(8, 24, 3, 3)  # windows that do not overlap
    1
    """
    if step >= columns:
        return 1
    return max(
        m for m in range(1, LANES + 1) if m * filters <= max(LANES, filters) and across % m == 0
    )


def cost(work: Work, together: int, gradient: bool = False) -> float:
    """Return the time of so many windows, in multiply-adds of vectors; infinity for windows alone.

    What is kept of single windows, where they are cut, stands for what is kept of wider ones.

    Examples
    --------
    With 3x3 filters, two windows take two thirds of their time.

    >>> work = Work(12, (10, 10), channels=3, filters=8, kernel=(3, 3), stride=(1, 1))
    >>> round(cost(work, together=2) / windows_plans.cost(work.windows, 27, 8), 2)
    0.68
    """
    if together == 1:
        return math.inf
    depth = work.kernel[0] * (work.kernel[1] + (together - 1) * work.stride[1]) * work.channels
    windows = work.windows / together
    return windows_plans.cost(windows, depth, work.filters, work.kept, gradient)


def _wider(weight: np.ndarray, step: int, together: int) -> np.ndarray:
    filters, channels, rows, columns = weight.shape
    wide = np.zeros(
        (together, filters, channels, rows, columns + (together - 1) * step), weight.dtype
    )
    for window in range(together):
        wide[window, ..., window * step : window * step + columns] = weight
    return wide.reshape(-1, *wide.shape[2:])


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair, together: int
) -> np.ndarray:
    """Return the convolution (N, *size, K); `together` divides the windows of a row."""
    wide = _wider(weight, stride[1], together)
    steps = (stride[0], stride[1] * together)
    out = windows_route.convolve(x, wide, (size[0], size[1] // together), steps, padding)
    return out.reshape(x.shape[0], *size, weight.shape[0])


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, padding: Pair, together: int
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C) for a stride of 1."""
    turned = weight.transpose(1, 0, 2, 3)[..., ::-1, ::-1]
    opposite = (weight.shape[2] - 1 - padding[0], weight.shape[3] - 1 - padding[1])
    size = (input_shape[1], input_shape[2])
    return convolve(grad, turned, size, (1, 1), opposite, together)


def filter_gradient(
    x: np.ndarray,
    grad: np.ndarray,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    together: int,
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    filters, channels, rows, columns = weight_shape
    shape = (together * filters, channels, rows, columns + (together - 1) * stride[1])
    steps = (stride[0], stride[1] * together)
    paired = grad.reshape(*grad.shape[:2], grad.shape[2] // together, together * filters)
    wide = windows_route.filter_gradient(x, paired, shape, steps, padding)
    wide = wide.reshape(together, filters, *shape[1:])
    out = wide[0, ..., :columns].copy()
    for window in range(1, together):
        out += wide[window, ..., window * stride[1] : window * stride[1] + columns]
    return out
