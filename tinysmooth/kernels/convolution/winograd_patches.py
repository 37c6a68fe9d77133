"""One tile of Winograd's convolution: pixels in, 36 positions out, and back.

The transforms know neither borders nor tails. Tiles that hang over the border of the image go
through a small patch with zeros around it, and so do parts of out and of its gradient whose
channels are no multiple of 16.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.packing import copy_rows, zero_rows
from tinysmooth.kernels.convolution.transforms import (
    transform_input,
    transform_output,
    transform_output_gradient,
)
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, prefetch, store_tail

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
    down: int,
    across: int,
    patch: np.ndarray,
) -> None:
    """Copy `count` channels of down x across pixels, with zeros for those outside the image."""
    begin, stop = min(max(0, -left), across), max(0, min(across, width - left))
    line = across * count
    for i in range(down):
        y, to = top + i, i * line
        if y < 0 or y >= height or stop <= begin:
            zero_rows(patch, to, 0, 1, line)
            continue
        zero_rows(patch, to, 0, 1, begin * count)
        at = ((image * height + y) * width + left + begin) * channels + first
        if count == channels:
            copy_rows(images, at, 0, patch, to + begin * count, 0, 1, (stop - begin) * count)
        else:
            copy_rows(images, at, channels, patch, to + begin * count, count, stop - begin, count)
        zero_rows(patch, to + stop * count, 0, 1, (across - stop) * count)


@jit
def input_tile(
    x: np.ndarray,
    image: int,
    top: int,
    left: int,
    height: int,
    width: int,
    channels: int,
    shifts_down: int,
    shifts_across: int,
    v: np.ndarray,
    offset: int,
    step: int,
    slice_size: int,
    patch: np.ndarray,
) -> None:
    """Transform the 6 x 6 pixels at (top, left), which may lie outside, to ``v[p][offset:]``.

    What the image shifted by 3 pixels shows there follows `step` floats further on, and so on.
    """
    down, across = PATCH + SHIFT * (shifts_down - 1), PATCH + SHIFT * (shifts_across - 1)
    padded = (channels + LANES - 1) // LANES * LANES
    source, base, row = x, ((image * height + top) * width + left) * channels, width * channels
    beside = base + across * channels
    inside = top >= 0 and left >= 0 and top + down <= height and left + across <= width
    # Lanes behind the channels may hold those of the next pixel: nothing is multiplied by them.
    if not inside or beside + (down - 1) * row - channels + padded > x.size:
        copy_patch(x, image, top, left, height, width, channels, 0, channels, down, across, patch)
        source, base, row = patch, 0, across * channels
    for c in range(0, padded, LANES):
        fetch_pixels(x, beside + c, width * channels, channels, down, TILE)
        to = offset + c
        for i in range(shifts_down):
            at = base + c + SHIFT * i * row
            for _ in range(shifts_across):
                transform_input(source, at, row, channels, v, to, PATCH * slice_size, slice_size)
                at += SHIFT * channels
                to += step


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
        # Lanes behind the filters hold anything: their sums are not written out.
        copy_patch(grad, image, top, left, height, width, filters, first, used, TILE, TILE, patch)
        source, base, row, pixel = patch, 0, TILE * used, used
    for k in range(0, size, LANES):
        to = offset + k
        at = base + k
        fetch_pixels(grad, beside + k, width * filters, filters, TILE, TILE)
        transform_output_gradient(source, at, row, pixel, d, to, PATCH * slice_size, slice_size)
