"""The rung that ``use_kernels("compiled")`` runs: chooses the route for each shape.

- float64, or compilation disabled: im2col and NumPy's matrix product, exact up to rounding.
- otherwise the route that costs least for these shapes, as each estimates itself:

  - stride 1, enough channels and tiles: fused Winograd F(4x4, 3x3), unless it is switched off;
  - with larger filters, or images that tiles of three pixels fit better: fused F(3x3, 3x3);
  - the gradient of 3x3 filters on up to eight channels: F(2x4, 3x3), values in registers;
  - one tap, stride 1 and no padding: a product of matrices, but for the gradient of filters over
    many pixels, and where statistics are taken;
  - few filters: several windows in a vector (`few_filters`), which goes with Winograd;
  - the gradient of images with few channels or large filters: taps as columns (`few_channels`);
  - everything else: windows, a direct sum.
"""

from __future__ import annotations

import enum

import numpy as np

from tinysmooth.kernels import memory, products
from tinysmooth.kernels.ahead import compile_ahead
from tinysmooth.kernels.convolution import (
    few_channels,
    few_filters,
    im2col,
    windows_plans,
    windows_route,
    winograd_bands_route,
    winograd_costs,
    winograd_route,
    winograd_shared_route,
)
from tinysmooth.kernels.convolution.geometry import Pair, Shape, Work, output_size
from tinysmooth.kernels.convolution.grids import grid_of_images, grids_of_gradient
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.prepared import remembered
from tinysmooth.kernels.thread_count import get_num_threads

__all__ = [
    "conv2d_backward_data",
    "conv2d_backward_weight",
    "conv2d_forward",
    "conv2d_with_statistics",
]

winograd_enabled = True
"""Set by ``use_kernels("compiled", winograd=...)``; read once a call."""


class Route(enum.Enum):
    """The ways to go; the values are the rooms, but for the last."""

    WINOGRAD = "winograd_route"
    SHARED = "winograd_shared_route"
    BANDS = "winograd_bands_route"
    FEW_FILTERS = "few_filters"
    FEW_CHANNELS = "few_channels"
    WINDOWS = "windows_route"
    PRODUCT = "products"
    NONE = "no images"


MOST_ROWS = 256
"""Windows of one tap whose gradient of filters is a product of matrices: it adds up over all of
them, and of such a product threads share the result only."""


def conv2d_forward(x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair) -> np.ndarray:
    """Return the convolution; arguments as in `im2col.conv2d_forward`."""
    if x.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_forward(x, weight, stride, padding)
    compile_ahead()
    shapes = (x.shape, weight.shape)
    route, together, size = _forward(*shapes, stride, padding, winograd_enabled, get_num_threads())
    if route is Route.WINOGRAD:
        return winograd_route.convolve(x, weight, size, padding, backward=False)
    if route is Route.SHARED:
        return winograd_shared_route.convolve(x, weight, size, padding, backward=False)
    if route is Route.FEW_FILTERS:
        return few_filters.convolve(x, weight, size, stride, padding, together)
    if route is Route.WINDOWS:
        return windows_route.convolve(x, weight, size, stride, padding)
    if route is Route.PRODUCT:
        out = products.linear(_rows(x), weight.reshape(weight.shape[:2]), None, relu=False)
        return out.reshape(*x.shape[:3], -1)
    return memory.empty((0, *size, weight.shape[0]), np.float32)


def conv2d_with_statistics(
    x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Pair
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return the convolution and, where they come cheaply, its mean and variance; see `im2col`."""
    if x.dtype == np.float32 and ENABLED:
        compile_ahead()
        shapes = (x.shape, weight.shape)
        route, _, size = _forward(*shapes, stride, padding, winograd_enabled, get_num_threads())
        if route is Route.WINOGRAD:
            return winograd_route.convolve_with_statistics(x, weight, size, padding)
        if route is Route.SHARED:
            return winograd_shared_route.convolve_with_statistics(x, weight, size, padding)
        if route in (Route.WINDOWS, Route.PRODUCT):
            return windows_route.convolve_with_statistics(x, weight, size, stride, padding)
    return conv2d_forward(x, weight, stride, padding), None


def conv2d_backward_data(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images; arguments as in `im2col.conv2d_backward_data`."""
    if grad.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_backward_data(grad, weight, input_shape, stride, padding)
    shapes = (grad.shape, weight.shape, tuple(input_shape))
    route, together, opposite = _backward_data(
        *shapes, stride, padding, winograd_enabled, get_num_threads()
    )
    size = (input_shape[1], input_shape[2])
    if route is Route.WINOGRAD:
        return winograd_route.convolve(grad, weight, size, opposite, backward=True)
    if route is Route.SHARED:
        return winograd_shared_route.convolve(grad, weight, size, opposite, backward=True)
    if route is Route.FEW_FILTERS:
        return few_filters.convolve_backward(grad, weight, input_shape, padding, together)
    if route is Route.FEW_CHANNELS:
        return few_channels.convolve_backward(grad, weight, input_shape, stride, padding)
    if route is Route.WINDOWS:
        return windows_route.convolve_backward(grad, weight, input_shape, stride, padding)
    if route is Route.PRODUCT:
        return products.matmul(_rows(grad), weight.reshape(weight.shape[:2])).reshape(input_shape)
    return memory.empty(input_shape, np.float32)


def conv2d_backward_weight(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters; arguments as in `im2col.conv2d_backward_weight`."""
    if x.dtype != np.float32 or not ENABLED:
        return im2col.conv2d_backward_weight(x, grad, weight_shape, stride, padding)
    shapes = (x.shape, grad.shape, tuple(weight_shape))
    route, together = route_of_weight(*shapes, stride, padding, winograd_enabled, get_num_threads())
    if route is Route.WINOGRAD:
        return winograd_route.filter_gradient(x, grad, weight_shape, padding)
    if route is Route.SHARED:
        return winograd_shared_route.filter_gradient(x, grad, weight_shape, padding)
    if route is Route.BANDS:
        return winograd_bands_route.filter_gradient(x, grad, weight_shape, padding)
    if route is Route.FEW_FILTERS:
        return few_filters.filter_gradient(x, grad, weight_shape, stride, padding, together)
    if route is Route.WINDOWS:
        return windows_route.filter_gradient(x, grad, weight_shape, stride, padding)
    if route is Route.PRODUCT:
        return products.matmul(_rows(grad).T, _rows(x)).reshape(weight_shape)
    return memory.zeros(weight_shape, np.float32)


def _rows(images: np.ndarray) -> np.ndarray:
    """Return the matrix of all pixels (N H W, C)."""
    return images.reshape(-1, images.shape[3])


@remembered
def _forward(
    x_shape: Shape, weight_shape: Shape, stride: Pair, padding: Pair, winograd: bool, threads: int
) -> tuple[Route, int, Pair]:
    """Return the route, the windows in a vector, and the size of the result."""
    batch, height, width, _ = x_shape
    filters, channels, *taps = weight_shape
    kernel: Pair = (taps[0], taps[1])
    size = output_size(height, width, kernel, stride, padding)
    grid = grid_of_images(x_shape, filters, kernel, size, stride, padding)
    kept = windows_plans.cut_windows([grid], filters).kept
    work = Work(batch, size, channels, filters, kernel, stride, kept)
    if _is_product(work, padding):
        return Route.PRODUCT, 1, size
    return *_route(work, winograd=winograd), size


@remembered
def _backward_data(
    grad_shape: Shape,
    weight_shape: Shape,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    winograd: bool,
    threads: int,
) -> tuple[Route, int, Pair]:
    """Return the route, the windows in a vector, and the padding of the turned filters."""
    filters, channels, *taps = weight_shape
    kernel: Pair = (taps[0], taps[1])
    batch, height, width, _ = input_shape
    grids, _ = grids_of_gradient(grad_shape, kernel, input_shape, stride, padding)
    kept = windows_plans.cut_windows(grids, channels).kept
    gathering = few_channels.cost(grad_shape, channels, kernel)
    work = Work(batch, (height, width), filters, channels, kernel, stride, kept)
    opposite = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
    if _is_product(work, padding):
        return Route.PRODUCT, 1, opposite
    return *_route(work, gathering=gathering, winograd=winograd), opposite


@remembered
def route_of_weight(
    x_shape: Shape,
    grad_shape: Shape,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    winograd: bool,
    threads: int,
) -> tuple[Route, int]:
    """Return the route and the windows in a vector."""
    filters, channels, *taps = weight_shape
    size, kernel = (grad_shape[1], grad_shape[2]), (taps[0], taps[1])
    grid = grid_of_images(x_shape, filters, kernel, size, stride, padding)
    chunk = windows_plans.chunk_of(grid, filters)
    kept = windows_plans.cut_windows([grid], filters, chunk).kept
    work = Work(x_shape[0], size, channels, filters, kernel, stride, kept)
    if _is_product(work, padding) and work.windows <= MOST_ROWS:
        return Route.PRODUCT, 1
    return _route(work, gradient=True, winograd=winograd)


def _is_product(work: Work, padding: Pair) -> bool:
    """Tell whether each pixel meets one tap, and no other."""
    same = work.kernel == work.stride == (1, 1) and padding == (0, 0)
    return same and min(work.windows, work.channels, work.filters) > 0


def _route(
    work: Work,
    *,
    gradient: bool = False,
    gathering: float | None = None,
    winograd: bool = True,
) -> tuple[Route, int]:
    """Return the quickest route, and the windows in a vector.

    `gradient` is for the filters. `gathering` is what `few_channels` costs, for the gradient of
    images, each of whose pixels sees one in stride times stride of the taps.
    """
    if not work.batch:
        return Route.NONE, 1
    (rows, columns), (down, across) = work.kernel, work.stride
    shared = 1 if gathering is None else down * across
    depth = rows * columns * work.channels
    windows = work.windows / shared
    costs = {Route.WINDOWS: windows_plans.cost(windows, depth, work.filters, work.kept, gradient)}
    together = 1
    if gathering is not None:
        costs[Route.FEW_CHANNELS] = gathering
    if winograd:
        costs[Route.WINOGRAD] = winograd_costs.cost(work, gradient)
        costs[Route.SHARED] = winograd_shared_route.cost(work, gradient)
        if gradient:
            costs[Route.BANDS] = winograd_bands_route.cost(work)
        if shared == 1:
            together = few_filters.windows_together(work.filters, work.size[1], columns, across)
        costs[Route.FEW_FILTERS] = few_filters.cost(work, together, gradient)
    return min(costs, key=lambda route: costs[route]), together
