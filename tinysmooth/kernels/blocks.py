"""The gradient of the filters of a first layer, straight from that of the block around it.

Behind a convolution come batch norm, ReLU and perhaps pooling (``ops.conv2d_block``). The gradient
of what the convolution gave, dx of batch norm, is the largest array of a backward pass: for 64
images of 64 x 64 pixels and 32 filters 34 MB, which go out to main memory and come back once. Where
the images need a gradient there is no way around it: their convolution reads dx in another order.
Those of a first layer need none. So here each thread makes dx of one image, which stays in its
cache, adds it to the gradient of the filters, and goes on to the next::

    for each image of a thread
        x, grad    --second sweep of batch norm-->  dx, a strip [H][W][K] in the cache
        image, dx  --windows-->                     sums of the filters

While an image's products run, memory is idle, so their tiles ask for x of the next image. On an
Intel processor the gradients of a first layer and its batch norm take 0.65 to 0.85 of the time.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution import fast
from tinysmooth.kernels.convolution.filters import sum_filter_gradients
from tinysmooth.kernels.convolution.geometry import Pair, Shape
from tinysmooth.kernels.convolution.windows import filter_gradient_windows
from tinysmooth.kernels.convolution.windows_plans import plan_gradient
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation import backward
from tinysmooth.kernels.normalisation.backward import write_dx_rows
from tinysmooth.kernels.normalisation.backward_sums import finish_sums
from tinysmooth.kernels.normalisation.lanes import floor_of
from tinysmooth.kernels.prepared import DOUBLE, INT, REMEMBERED, Calls, Given, Piece, Prepared, flat
from tinysmooth.kernels.thread_count import get_num_threads
from tinysmooth.kernels.vectors import LANES
from tinysmooth.kernels.views import behind

__all__ = ["conv2d_block_backward_weight"]

Array = NDArray[Any]

FEWEST_WINDOWS = 512
"""Windows of an image, below which it is not worth a round of its own."""

FEWEST_IMAGES = 8
"""Images of a thread: with fewer, one thread may have much less to do than another."""

LARGEST_STRIP = 2**18
"""Floats of dx of an image: a megabyte. L2 caches have half of that to two megabytes."""


@jit
def _gradient_parts(
    part: int,
    parts: int,
    images: Array,
    x: Array,
    grad: Array,
    numbers: Array,
    found: Array,
    gradients: Array,
    sizes: tuple[int, int, int, int, int, int, int],
    floor: float,
    tables: Array,
    norm_sums: Array,
    strips: Array,
    filter_sums: Array,
    workspace: Array,
    offsets: Array,
    grids: Array,
    plan: tuple[int, int, int, int],
) -> None:
    """Add up the gradient of the filters over this part's images."""
    count, height, width, channels, training, pool, floats = sizes
    table, strip, pixels = tables[part], strips[part], height * width
    moved = count * pixels * training
    finish_sums(norm_sums, found, moved, channels, numbers, table, gradients[part])
    rows = (height + 1) // 2 if pool else height
    shape = (height, width, channels)
    begin = count * part // parts
    for n in range(begin, count * (part + 1) // parts):
        first, last, origin = n * rows, (n + 1) * rows, n * pixels * channels
        write_dx_rows(x, grad, first, last, shape, pool, table, floor, strip, origin)
        filter_gradient_windows(
            0, 1, behind(images, n * floats), strip, filter_sums[part : part + 1],
            workspace[part : part + 1], offsets[part : part + 1], grids, plan, int(n > begin),
            behind(x, origin + pixels * channels),
        )  # fmt: skip


@functools.lru_cache(maxsize=REMEMBERED)
def _fits(
    images: Shape,
    filters: Shape,
    out: Shape,
    stride: Pair,
    padding: Pair,
    winograd: bool,
    threads: int,
    parts: int,
) -> bool:
    """Tell whether the gradient is one of `windows`, and its images neither too small nor large."""
    route, _ = fast.route_of_weight(images, out, filters, stride, padding, winograd, threads)
    if route is not fast.Route.WINDOWS or out[0] < FEWEST_IMAGES * parts or out[3] < LANES:
        return False
    return out[1] * out[2] >= FEWEST_WINDOWS and math.prod(out[1:]) <= LARGEST_STRIP


@functools.lru_cache(maxsize=REMEMBERED)
def _prepare(
    images: Shape,
    filters: Shape,
    out: Shape,
    stride: Pair,
    padding: Pair,
    flags: tuple[bool, bool, bool],
    parts: int,
) -> Calls:
    relu, pool, training = flags
    count, channels, rows, columns = filters
    plan = plan_gradient((1, *images[1:]), filters, (out[1], out[2]), stride, padding, threads=1)
    room = backward.room_for(count, parts)
    strips = Piece(room.sums.stop, (parts, math.prod(out[1:])))
    sums = Piece(strips.stop, (parts, plan.sums[1]))
    workspace = Piece(sums.stop, (parts, plan.workspace))
    taps = Piece(workspace.stop, (plan.adding, LANES * LANES * rows * columns))
    offsets = Piece(taps.stop, (parts, plan.tables), INT)
    arrays = (flat(images), flat(out), flat(backward.halved(out, pool)))
    given = (*backward.numbers_and_found(count), Given((parts, 2, count), DOUBLE))
    sizes = (*out, int(training), int(pool), math.prod(images[1:]))
    pieces = (room.tables, room.sums, strips, sums, workspace, offsets)
    rest = (sizes, floor_of(relu), *pieces, plan.grids, plan.sizes)
    steps = (
        Prepared(_gradient_parts, parts, *arrays, *given, *rest),
        Prepared(
            *(sum_filter_gradients, plan.adding, sums, flat(filters)),
            *((count, channels, rows * columns), taps),
        ),
    )
    return Calls(steps, offsets.stop, parts)


def conv2d_block_backward_weight(
    grad: Array,
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    relu: bool,
    pool: bool,
    training: bool,
    result: Array | None,
    images: Array,
    filters_shape: Shape,
    stride: Pair,
    padding: Pair,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the filters, the weight and the bias; see the reference."""
    shapes = (images.shape, tuple(filters_shape), x.shape)
    parts, found_out = backward.parts_for(x.shape), (fast.winograd_enabled, get_num_threads())
    if x.dtype != np.float32 or not _fits(*shapes, stride, padding, *found_out, parts):
        dx, dweight, dbias = backward.batch_norm_backward(
            grad, x, scale, shift, mean, inv_std, weight, relu, pool, training, result
        )
        filters = fast.conv2d_backward_weight(images, dx, filters_shape, stride, padding)
        return filters, dweight, dbias
    calls = _prepare(*shapes, stride, padding, (relu, pool, training), parts)
    filters, floats = memory.empty(filters_shape, x.dtype), memory.workspace(calls.floats)
    numbers = np.array((scale, shift, mean, inv_std, weight), np.float64)
    found = backward.sum_up(floats, grad, x, numbers, relu, pool, result, parts)
    gradients, (products, addition) = np.empty((parts, 2, x.shape[3])), calls.steps
    products.run(floats, images, x, grad, numbers, found, gradients)
    addition.run(floats, filters)
    dweight, dbias = gradients[0].astype(weight.dtype)
    return filters, dweight, dbias
