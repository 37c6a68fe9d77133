"""One tile of Winograd's convolution: pixels in, 36 positions out, and back.

The transforms know neither borders nor tails. Tiles that hang over the border of the image go
through a small zero-padded patch, and so do parts of out and of its gradient whose channels are no
multiple of 16.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.packing import zero_rows
from tinysmooth.kernels.convolution.transforms import (
    transform_input,
    transform_output,
    transform_output_gradient,
)
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, load_tail, prefetch, store, store_tail

TILE = 4
"""Output pixels on the side of a tile."""

PATCH = 6
"""Input pixels on the side of a tile: TILE + 3 - 1."""

SHIFT = 3
"""Taps on the side of a filter, and pixels between the shifted images of a larger filter."""

POSITIONS = 36
"""Numbers of a transformed tile: PATCH squared."""


@jit
def fetch_pixels(
    images: np.ndarray, at: int, row: int, pixel: int, rows: int, columns: int
) -> None:
    """Ask for one line of each of rows x columns pixels, which may lie outside.

    A tile's pixels lie in pieces too short for the processor to foresee the next ones. Asked for
    while the tile before is worked on, the pixels of the next tile to the right have come by then:
    that saves up to a tenth of the time of a layer with 32 or 64 channels.
    """
    for i in range(rows):
        for j in range(columns):
            prefetch(images, at + i * row + j * pixel)


@jit
def copy_patch(
    images: np.ndarray,
    image: int,
    top: int,
    left: int,
    height: int,
    width: int,
    channels: int,
    first: int,
    count: int,
    side: int,
    patch: np.ndarray,
) -> None:
    """Copy `count` channels of side x side pixels, with zeros outside the image and behind them."""
    padded = (count + LANES - 1) // LANES * LANES
    whole = count // LANES * LANES
    begin, stop = min(max(0, -left), side), max(0, min(side, width - left))
    for i in range(side):
        y, to = top + i, i * side * padded
        if y < 0 or y >= height or stop <= begin:
            zero_rows(patch, to, 0, 1, side * padded)
            continue
        zero_rows(patch, to, 0, 1, begin * padded)
        at = ((image * height + y) * width + left + begin) * channels + first
        to += begin * padded
        for _ in range(stop - begin):
            for c in range(0, whole, LANES):
                store(patch, to + c, load(images, at + c))
            if whole < count:
                store(patch, to + whole, load_tail(images, at + whole, count - whole))
            at += channels
            to += padded
        zero_rows(patch, to, 0, 1, (side - stop) * padded)


@jit
def input_tile(
    x: np.ndarray,
    image: int,
    top: int,
    left: int,
    height: int,
    width: int,
    channels: int,
    v: np.ndarray,
    offset: int,
    slice_size: int,
    patch: np.ndarray,
) -> None:
    """Transform the 6 x 6 pixels at (top, left), which may lie outside, to ``v[p][offset:]``."""
    padded = (channels + LANES - 1) // LANES * LANES
    source, base = x, ((image * height + top) * width + left) * channels
    row, pixel, beside = width * channels, channels, base + PATCH * channels
    inside = top >= 0 and left >= 0 and top + PATCH <= height and left + PATCH <= width
    last = base + (PATCH - 1) * (row + pixel)
    # Lanes behind the channels may hold those of the next pixel: nothing is multiplied by them.
    if not inside or last + padded > x.size:
        copy_patch(x, image, top, left, height, width, channels, 0, channels, PATCH, patch)
        source, base, row, pixel = patch, 0, PATCH * padded, padded
    for c in range(0, padded, LANES):
        to = offset + c
        fetch_pixels(x, beside + c, width * channels, channels, PATCH, TILE)
        transform_input(source, base + c, row, pixel, v, to, PATCH * slice_size, slice_size)


@jit
def output_tile(
    m: np.ndarray,
    offset: int,
    slice_size: int,
    out: np.ndarray,
    image: int,
    top: int,
    left: int,
    height: int,
    width: int,
    channels: int,
    first: int,
    last: int,
    patch: np.ndarray,
) -> None:
    """Transform ``m[p][offset:]`` to the 4 x 4 pixels at (top, left), channels first to last."""
    whole = top + TILE <= height and left + TILE <= width
    for k in range(first, last, LANES):
        at = offset + k - first
        if whole and k + LANES <= channels:
            to = ((image * height + top) * width + left) * channels + k
            row = width * channels
            fetch_pixels(out, to + TILE * channels, row, channels, TILE, TILE)
            transform_output(m, at, PATCH * slice_size, slice_size, out, to, row, channels)
        else:
            row = TILE * LANES
            transform_output(m, at, PATCH * slice_size, slice_size, patch, 0, row, LANES)
            count = min(LANES, channels - k)
            for i in range(min(TILE, height - top)):
                for j in range(min(TILE, width - left)):
                    to = ((image * height + top + i) * width + left + j) * channels + k
                    store_tail(out, to, load(patch, (i * TILE + j) * LANES), count)


@jit
def gradient_tile(
    grad: np.ndarray,
    image: int,
    top: int,
    left: int,
    height: int,
    width: int,
    filters: int,
    first: int,
    size: int,
    d: np.ndarray,
    offset: int,
    slice_size: int,
    patch: np.ndarray,
) -> None:
    """Transform `size` filters of 4 x 4 pixels of the gradient to ``d[p][offset:]``."""
    source, base = grad, ((image * height + top) * width + left) * filters + first
    row, pixel, beside = width * filters, filters, base + TILE * filters
    if top + TILE > height or left + TILE > width or first + size > filters:
        used = min(size, filters - first)
        copy_patch(grad, image, top, left, height, width, filters, first, used, TILE, patch)
        source, base, row, pixel = patch, 0, TILE * size, size
    for k in range(0, size, LANES):
        to = offset + k
        at = base + k
        fetch_pixels(grad, beside + k, width * filters, filters, TILE, TILE)
        transform_output_gradient(source, at, row, pixel, d, to, PATCH * slice_size, slice_size)
