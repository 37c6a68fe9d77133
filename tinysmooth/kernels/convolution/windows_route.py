"""Runs the kernels of `windows`: workspaces, threads."""

from __future__ import annotations

import math

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
from tinysmooth.kernels.threads import get_num_threads, run_parallel
from tinysmooth.kernels.vectors import LANES


def _run_windows(
    source: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    plan: Plan,
    backward: bool,
    wanted: bool = False,
) -> statistics.Sums:
    """Pack the filters, convolve every grid of the plan; sums for the statistics if wanted."""
    filters, channels, rows, columns = weight.shape
    area = rows * columns
    taps = LANES * LANES * area
    floats = memory.workspace(plan.packed + plan.packing * taps + plan.parts * plan.workspace)
    b, rest = floats[: plan.packed], floats[plan.packed :]
    workspace = rest[: plan.packing * taps].reshape(plan.packing, taps)
    bank = (weight.reshape(-1), (filters, channels, area), int(backward))
    run_parallel(pack_filters, *bank, plan.orders, b, workspace, parts=plan.packing)

    workspace = rest[plan.packing * taps :].reshape(plan.parts, plan.workspace)
    tables = np.empty((plan.parts, plan.tables), np.int64)
    sums = statistics.NONE
    if wanted:
        sums = statistics.sums_for(plan.parts, round_up(out.shape[3], LANES))
    arrays = (source.reshape(-1), b, out.reshape(-1), *sums, workspace, tables, plan.grids)
    run_parallel(convolve_windows, *arrays, plan.sizes, parts=plan.parts)
    return sums


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
    out = memory.empty((x.shape[0], *size, weight.shape[0]), np.float32)
    plan = plan_forward(x.shape, weight.shape, size, stride, padding, get_num_threads())
    return out, _run_windows(x, weight, out, plan, backward=False, wanted=wanted)


def convolve_backward(
    grad: np.ndarray, weight: np.ndarray, input_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the images (N, H, W, C)."""
    out = memory.empty(input_shape, np.float32)
    shapes = (grad.shape, weight.shape, tuple(input_shape))
    plan = plan_backward(*shapes, stride, padding, get_num_threads())
    _run_windows(grad, weight, out, plan, backward=True)
    return out


def filter_gradient(
    x: np.ndarray, grad: np.ndarray, weight_shape: Shape, stride: Pair, padding: Pair
) -> np.ndarray:
    """Return the gradient of the filters (K, C, R, S)."""
    filters, channels, rows, columns = weight_shape
    shapes = (x.shape, tuple(weight_shape), (grad.shape[1], grad.shape[2]))
    plan = plan_gradient(*shapes, stride, padding, get_num_threads())
    out = memory.empty(weight_shape, np.float32)
    shape = (filters, channels, rows * columns)
    taps, strips = LANES * LANES * shape[2], plan.parts * plan.workspace
    floats = memory.workspace(strips + math.prod(plan.sums) + plan.adding * taps)
    workspace = floats[:strips].reshape(plan.parts, plan.workspace)
    sums, rest = floats[strips : -plan.adding * taps], floats[-plan.adding * taps :]
    sums, gathered = sums.reshape(plan.sums), rest.reshape(plan.adding, taps)
    tables = np.empty((plan.parts, plan.tables), np.int64)
    arrays = (x.reshape(-1), grad.reshape(-1), sums, workspace, tables, plan.grids)
    run_parallel(filter_gradient_windows, *arrays, plan.sizes, parts=plan.parts)
    run_parallel(sum_filter_gradients, sums, out.reshape(-1), shape, gathered, parts=plan.adding)
    return out
