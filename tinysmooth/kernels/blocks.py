"""The gradient of the filters of a first layer, straight from that of the block around it.

Behind a convolution come batch norm, ReLU and perhaps pooling (``ops.conv2d_block``). The gradient
of what the convolution gave, dx of batch norm, is the largest array of a backward pass: for 64
images of 64 x 64 pixels and 32 filters 34 MB, which go out to main memory and come back once. Where
the images need a gradient there is no way around it: their convolution reads dx in another order.
Those of a first layer need none. So here each thread makes dx of one image, which stays in its
cache, adds it to the gradient of the filters, and goes on to the next::

    for each image of a thread
        x, grad    --second sweep of batch norm-->  dx, a strip [H][W][K] in the cache
        image, dx  --windows or bands-->            sums of the filters

While an image's products run, memory is idle, so their tiles ask for x of the next image, but for
what the first product would ask for: with that, the products of bands took up to 1.1 times as long
on Zen 4, whose L2 cache is as large as the strip and x of an image of 64 x 64 pixels. With the
products of windows, the gradients of a first layer and its batch norm took 0.65 to 0.85 of the time
on an Intel processor.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.convolution import fast, windows_plans, winograd_bands_route
from tinysmooth.kernels.convolution.filters import sum_filter_gradients
from tinysmooth.kernels.convolution.geometry import Pair, Shape
from tinysmooth.kernels.convolution.windows import filter_gradient_windows
from tinysmooth.kernels.convolution.winograd_bands import (
    bands_to_filter_gradient,
    filter_gradient_bands,
)
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation import backward
from tinysmooth.kernels.normalisation.backward import write_dx_rows
from tinysmooth.kernels.normalisation.backward_sums import finish_sums
from tinysmooth.kernels.normalisation.lanes import floor_of
from tinysmooth.kernels.prepared import (
    DOUBLE,
    INT,
    PAGE,
    REMEMBERED,
    Calls,
    Given,
    Piece,
    Prepared,
    flat,
)
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


Sizes = tuple[int, int, int, int, int, int, int]
"""Images, rows, columns and filters of x; whether it is training, and pools; floats of an image."""


@jit
def _finish_sums(
    sizes: Sizes, sums: Array, found: Array, numbers: Array, table: Array, gradients: Array
) -> None:
    """Finish the sums of batch norm, and write what its second sweep needs to `table`."""
    count, height, width, channels, training, _, _ = sizes
    moved = count * height * width * training
    finish_sums(sums, found, moved, channels, numbers, table, gradients)


@jit
def _make_dx(
    n: int, x: Array, grad: Array, sizes: Sizes, floor: float, table: Array, strip: Array
) -> int:
    """Write dx of image n to a strip; return where x of the next one begins."""
    _, height, width, channels, _, pool, _ = sizes
    rows = (height + 1) // 2 if pool else height
    shape, origin = (height, width, channels), n * height * width * channels
    first, last = n * rows, (n + 1) * rows
    write_dx_rows(x, grad, first, last, shape, pool, table, floor, strip, origin)
    return origin + height * width * channels


@jit
def _gradient_by_windows(
    part: int,
    parts: int,
    images: Array,
    x: Array,
    grad: Array,
    numbers: Array,
    found: Array,
    gradients: Array,
    sizes: Sizes,
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
    table, strip, floats = tables[part], strips[part], sizes[6]
    _finish_sums(sizes, norm_sums, found, numbers, table, gradients[part])
    begin = sizes[0] * part // parts
    for n in range(begin, sizes[0] * (part + 1) // parts):
        following = _make_dx(n, x, grad, sizes, floor, table, strip)
        filter_gradient_windows(
            0, 1, behind(images, n * floats), strip, filter_sums[part : part + 1],
            workspace[part : part + 1], offsets[part : part + 1], grids, plan, int(n > begin),
            behind(x, following),
        )  # fmt: skip


@jit
def _gradient_by_bands(
    part: int,
    parts: int,
    images: Array,
    x: Array,
    grad: Array,
    numbers: Array,
    found: Array,
    gradients: Array,
    sizes: Sizes,
    floor: float,
    tables: Array,
    norm_sums: Array,
    strips: Array,
    filter_sums: Array,
    workspace: Array,
    offsets: Array,
    places: Array,
    plan: tuple[int, ...],
) -> None:
    """Do the same with the products of `winograd_bands`."""
    table, strip, floats = tables[part], strips[part], sizes[6]
    _finish_sums(sizes, norm_sums, found, numbers, table, gradients[part])
    begin = sizes[0] * part // parts
    for n in range(begin, sizes[0] * (part + 1) // parts):
        following = _make_dx(n, x, grad, sizes, floor, table, strip)
        filter_gradient_bands(
            0, 1, behind(images, n * floats), strip, filter_sums[part : part + 1],
            workspace[part : part + 1], offsets[part : part + 1], places, plan, int(n > begin),
            behind(x, following),
        )  # fmt: skip


@functools.lru_cache(maxsize=REMEMBERED)
def _route(
    images: Shape,
    filters: Shape,
    out: Shape,
    stride: Pair,
    padding: Pair,
    winograd: bool,
    threads: int,
    parts: int,
) -> fast.Route | None:
    """Return the route whose products take an image at a time; None if that is not to be."""
    route, _ = fast.route_of_weight(images, out, filters, stride, padding, winograd, threads)
    if out[0] < FEWEST_IMAGES * parts or out[3] < LANES:
        return None
    if out[1] * out[2] < FEWEST_WINDOWS or math.prod(out[1:]) > LARGEST_STRIP:
        return None
    return route if route in (fast.Route.WINDOWS, fast.Route.BANDS) else None


@functools.lru_cache(maxsize=REMEMBERED)
def _prepare(
    route: fast.Route,
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
    room = backward.room_for(count, parts)
    strips = Piece(room.sums.stop, (parts, math.prod(out[1:]) + PAGE))
    arrays = (flat(images), flat(out), flat(backward.halved(out, pool)))
    given = (*backward.numbers_and_found(count), Given((parts, 2, count), DOUBLE))
    sizes = (*out, int(training), int(pool), math.prod(images[1:]))
    before = (*arrays, *given, sizes, floor_of(relu), room.tables, room.sums, strips)
    one_image, size = ((1, *images[1:]), filters, (out[1], out[2])), (count, channels)
    if route is fast.Route.BANDS:
        by_bands = winograd_bands_route.plan_gradient(*one_image, padding, threads=1)
        sums = Piece(strips.stop, (parts, by_bands.sums[1]))
        workspace = Piece(sums.stop, (parts, by_bands.workspace))
        back = Piece(workspace.stop, (by_bands.back,))
        offsets = Piece(back.stop, (parts, by_bands.tables), INT)
        places = (sums, workspace, offsets, by_bands.whole_tiles, by_bands.sizes)
        steps = (
            Prepared(_gradient_by_bands, parts, *before, *places),
            Prepared(bands_to_filter_gradient, 1, sums, flat(filters), size, back),
        )
        return Calls(steps, offsets.stop, parts)
    plan = windows_plans.plan_gradient(*one_image, stride, padding, threads=1)
    sums = Piece(strips.stop, (parts, plan.sums[1]))
    workspace = Piece(sums.stop, (parts, plan.workspace))
    taps = Piece(workspace.stop, (plan.adding, LANES * LANES * rows * columns))
    offsets = Piece(taps.stop, (parts, plan.tables), INT)
    rest = (sums, workspace, offsets, plan.grids, plan.sizes)
    shape = (*size, rows * columns)
    steps = (
        Prepared(_gradient_by_windows, parts, *before, *rest),
        Prepared(sum_filter_gradients, plan.adding, sums, flat(filters), shape, taps),
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
    route = _route(*shapes, stride, padding, *found_out, parts) if x.dtype == np.float32 else None
    if route is None:
        dx, dweight, dbias = backward.batch_norm_backward(
            grad, x, scale, shift, mean, inv_std, weight, relu, pool, training, result
        )
        filters = fast.conv2d_backward_weight(images, dx, filters_shape, stride, padding)
        return filters, dweight, dbias
    calls = _prepare(route, *shapes, stride, padding, (relu, pool, training), parts)
    filters, floats = memory.empty(filters_shape, x.dtype), memory.workspace(calls.floats)
    numbers = np.array((scale, shift, mean, inv_std, weight), np.float64)
    found = backward.sum_up(floats, grad, x, numbers, relu, pool, result, parts)
    gradients, (products, addition) = np.empty((parts, 2, x.shape[3])), calls.steps
    products.run(floats, images, x, grad, numbers, found, gradients)
    addition.run(floats, filters)
    dweight, dbias = gradients[0].astype(weight.dtype)
    return filters, dweight, dbias
