"""Which windows a convolution has: by the phases of its stride, and by zones along the borders.

The microkernel takes a matrix of windows, of which every row has the same taps. That holds inside
an image, but a window at the border meets fewer pixels, and in the gradient of x, with a stride,
neighbours meet different taps. So the windows of a convolution are cut in `Grid`s, each of which is
a rectangle of windows with a rectangle of taps.

The gradient of x is a convolution as well: pixel y of x meets output i through tap r = y + padding
- i stride. Pixels with the same remainder ("phase") of (y + padding) / stride have the same taps,
every stride-th one, so each phase is a convolution of its own with stride 1 and fewer taps::

    stride 2, R = 3, padding 1:    even y: tap 1            odd y: taps 2 and 0

Along the border, windows are cut in `zones` by the taps that lie inside::

    R = 3, padding 1        taps 1 2 | taps 0 1 2 ... | taps 0 1        across, and likewise down:
                            one      | all but two    | one             nine zones

No product falls on padding then, and no image is copied between zeros. Of the products of 7x7
filters with padding 3 on images of 15x15 pixels that leaves out 22 percent. And a filter that is
not finite spoils no pixel where it would meet nothing but padding, as it does in `im2col`.
"""

from __future__ import annotations

from typing import NamedTuple

from tinysmooth.kernels.convolution.geometry import Pair, Shape, round_up
from tinysmooth.kernels.convolution.packing import Grid
from tinysmooth.kernels.vectors import LANES


class Order(NamedTuple):
    """How filters are packed: tap (t, u) is ``first_tap + t * step_down + u * step_across``."""

    packed_at: int
    taps_down: int
    taps_across: int
    first_tap: int
    step_down: int
    step_across: int


class Phase(NamedTuple):
    """The pixels first, first + stride, ... of one direction of x, which meet the same taps."""

    first: int
    windows: int
    taps: int
    start: int
    largest_tap: int


def phases(size: int, taps: int, stride: int, padding: int) -> list[Phase]:
    """Describe the phases of one direction; `start` is the output that meets the largest tap.

    Examples
    --------
    Stride 2, three taps, padding 1: even pixels meet tap 1, odd ones taps 2 and 0.

    >>> for phase in phases(5, 3, 2, 1):
    ...     print(phase)
    Phase(first=0, windows=3, taps=1, start=0, largest_tap=1)
    Phase(first=1, windows=2, taps=2, start=0, largest_tap=2)
    """
    out = []
    for first in range(min(stride, size)):
        smallest = (first + padding) % stride
        count = len(range(smallest, taps, stride))
        largest = smallest + (count - 1) * stride
        start = (first + padding - largest) // stride
        out.append(Phase(first, len(range(first, size, stride)), count, start, largest))
    return out


class Span(NamedTuple):
    """Neighbouring windows of one direction of which the same taps lie inside the image."""

    first: int
    windows: int
    first_tap: int
    taps: int


def spans(windows: int, step: int, start: int, taps: int, source: int) -> list[Span]:
    """Cut the windows of one direction where their taps reach over the border.

    Examples
    --------
    Five windows of three taps on five pixels, the first at pixel -1.

    >>> for span in spans(5, 1, -1, 3, 5):
    ...     print(span)
    Span(first=0, windows=1, first_tap=1, taps=2)
    Span(first=1, windows=3, first_tap=0, taps=3)
    Span(first=4, windows=1, first_tap=0, taps=2)
    """
    out: list[Span] = []
    window = 0
    while window < windows:
        at = start + window * step
        first = min(max(0, -at), taps)
        inside = max(0, min(taps, source - at) - first)
        run = 1
        if inside == taps:  # and so have the next ones, up to the other border
            run = max(1, min(windows, (source - taps - start) // step + 1) - window)
        if out and out[-1][2:] == (first, inside):
            out[-1] = out[-1]._replace(windows=out[-1].windows + run)
        else:
            out.append(Span(window, run, first, inside))
        window += run
    return out


def zones(grid: Grid) -> list[Grid]:
    """Cut a grid in zones, whose windows meet only pixels of the image; the largest first."""
    g = grid
    down = spans(g.windows_down, g.step_down, g.start_down, g.taps_down, g.source_height)
    across = spans(g.windows_across, g.step_across, g.start_across, g.taps_across, g.source_width)
    out = [
        g._replace(
            windows_down=a.windows,
            windows_across=b.windows,
            taps_down=a.taps,
            taps_across=b.taps,
            start_down=g.start_down + a.first * g.step_down + a.first_tap,
            start_across=g.start_across + b.first * g.step_across + b.first_tap,
            out_start_down=g.out_start_down + a.first * g.out_step_down,
            out_start_across=g.out_start_across + b.first * g.out_step_across,
            first_row=a.first_tap * g.row_of_taps + b.first_tap * g.source_channels,
        )
        for a in down
        for b in across
    ]
    return sorted(out, key=lambda zone: -zone.windows_down * zone.windows_across)


def grid_of_images(
    x_shape: Shape, filters: int, kernel: Pair, size: Pair, stride: Pair, padding: Pair
) -> Grid:
    """Return the windows of the forward convolution, in one piece."""
    batch, height, width, channels = x_shape
    row = kernel[1] * channels
    return Grid(
        *(batch, height, width, channels),
        *(*size, *kernel, *stride, -padding[0], -padding[1]),
        *(*size, filters, 1, 1, 0, 0),
        *(0, kernel[0] * row, 0, row, 0),
    )


def grids_of_gradient(
    grad_shape: Shape, kernel: Pair, input_shape: Shape, stride: Pair, padding: Pair
) -> tuple[list[Grid], list[Order]]:
    """Return the windows of the gradient of images, phase by phase, and the order of their taps."""
    _, height, width, channels = input_shape
    batch, rows, columns, filters = grad_shape
    grids, orders, at = [], [], 0
    for a in phases(height, kernel[0], stride[0], padding[0]):
        for b in phases(width, kernel[1], stride[1], padding[1]):
            row = b.taps * filters
            grids.append(
                Grid(
                    *(batch, rows, columns, filters),
                    *(a.windows, b.windows, a.taps, b.taps, 1, 1, a.start, b.start),
                    *(height, width, channels, *stride, a.first, b.first),
                    *(at, a.taps * row, 0, row, 0),
                )
            )
            # Without taps the order does not matter: the pixels become 0.
            first_tap = a.largest_tap * kernel[1] + b.largest_tap
            steps = (-stride[0] * kernel[1], -stride[1])
            orders.append(Order(at, a.taps, b.taps, first_tap, *steps))
            at += a.taps * row * round_up(channels, LANES)
    return grids, orders
