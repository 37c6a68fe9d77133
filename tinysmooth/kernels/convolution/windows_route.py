"""Runs the kernels of `windows`: their calls, prepared once for each shape, and workspaces."""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution import statistics
from tinysmooth.kernels.convolution.filters import pack_filters, sum_filter_gradients
from tinysmooth.kernels.convolution.geometry import Pair, Shape, round_up
from tinysmooth.kernels.convolution.windows import convolve_windows, filter_gradient_windows
from tinysmooth.kernels.convolution.windows_plans import (
    Plan,
    plan_backward,
    plan_forward,
    plan_gradient,
)
from tinysmooth.kernels.prepared import INT, Calls, Piece, Prepared, flat, remembered
from tinysmooth.kernels.thread_count import get_num_threads
from tinysmooth.kernels.vectors import LANES


def _prepare(
    source: Shape, weight: Shape, out: Shape, plan: Plan, backward: bool, wanted: bool
) -> Calls:
    """Prepare packing the filters and convolving every grid of the plan."""
    filters, channels, rows, columns = weight
    area = rows * columns
    b = Piece(0, (plan.packed,))
    taps = Piece(b.stop, (plan.packing, LANES * LANES * area))
    workspace = Piece(taps.stop, (plan.parts, plan.workspace))
    tables = Piece(workspace.stop, (plan.parts, plan.tables), INT)
    bank = (flat(weight), (filters, channels, area), int(backward))
    sums: tuple[object, ...] = statistics.NONE
    if wanted:
        sums = statistics.given(plan.parts, round_up(out[3], LANES))
    arrays = (flat(source), b, flat(out), *sums, workspace, tables, plan.grids)
    steps = (
        Prepared(pack_filters, plan.packing, *bank, plan.orders, b, taps),
        Prepared(convolve_windows, plan.parts, *arrays, plan.sizes),
    )
    return Calls(steps, tables.stop, plan.parts)


@remembered
def _prepare_forward(
    x: Shape,
    weight: Shape,
    size: Pair,
    stride: Pair,
    padding: Pair,
    wanted: bool,
    num_threads: int,
) -> Calls:
    plan = plan_forward(x, weight, size, stride, padding)
    out = (x[0], *size, weight[0])
    return _prepare(x, weight, out, plan, backward=False, wanted=wanted)


@remembered
def _prepare_backward(
    grad: Shape, weight: Shape, images: Shape, stride: Pair, padding: Pair, num_threads: int
) -> Calls:
    plan = plan_backward(grad, weight, images, stride, padding)
    return _prepare(grad, weight, images, plan, backward=True, wanted=False)


@remembered
def _prepare_gradient(
    x: Shape, grad: Shape, weight: Shape, stride: Pair, padding: Pair, num_threads: int
) -> Calls:
    """Prepare adding up the products of each part, and then over the parts."""
    plan = plan_gradient(x, weight, (grad[1], grad[2]), stride, padding)
    filters, channels, rows, columns = weight
    shape = (filters, channels, rows * columns)
    workspace = Piece(0, (plan.parts, plan.workspace))
    sums = Piece(workspace.stop, plan.sums)
    taps = Piece(sums.stop, (plan.adding, LANES * LANES * shape[2]))
    tables = Piece(taps.stop, (plan.parts, plan.tables), INT)
    arrays = (flat(x), flat(grad), sums, workspace, tables, plan.grids)
    steps = (
        Prepared(filter_gradient_windows, plan.parts, *arrays, plan.sizes, 0, flat(grad)),
        Prepared(sum_filter_gradients, plan.adding, sums, flat(weight), shape, taps),
    )
    return Calls(steps, tables.stop, plan.parts)


def convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the convolution (N, *size, K)."""
    return _convolve(x, weight, size, stride, padding, wanted=False)[0]


def convolve_with_statistics(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """Return the convolution, and mean and variance of its channels, or None if not finite."""
    out, sums = _convolve(x, weight, size, stride, padding, wanted=True)
    return out, statistics.mean_and_variance(sums, weight.shape[0])


def _convolve(
    x: np.ndarray, weight: np.ndarray, size: Pair, stride: Pair, padding: Pair, wanted: bool
) -> tuple[np.ndarray, statistics.Sums]:
    shapes = (x.shape, weight.shape, size)
    calls = _prepare_forward(*shapes, stride, padding, wanted, get_num_threads())
    out = memory.empty((x.shape[0], *size, weight.shape[0]), np.float32)
    floats, (pack, convolution) = memory.workspace(calls.floats), calls.steps
    pack.run(floats, weight)
    if not wanted:
        convolution.run(floats, x, out)
        return out, statistics.NONE
    sums = statistics.sums_for(calls.parts, round_up(weight.shape[0], LANES))
    convolution.run(floats, x, out, *sums)
    return out, sums


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C)."""
    shapes = (grad.shape, weight.shape, tuple(input_shape))
    calls = _prepare_backward(*shapes, stride, padding, get_num_threads())
    out = memory.empty(input_shape, np.float32)
    floats, (pack, convolution) = memory.workspace(calls.floats), calls.steps
    pack.run(floats, weight)
    convolution.run(floats, grad, out)
    return out


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    shapes = (x.shape, grad.shape, tuple(weight_shape))
    calls = _prepare_gradient(*shapes, stride, padding, get_num_threads())
    out = memory.empty(weight_shape, np.float32)
    floats, (products, addition) = memory.workspace(calls.floats), calls.steps
    products.run(floats, x, grad, grad)
    addition.run(floats, out)
    return out
