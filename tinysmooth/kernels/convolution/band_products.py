"""The products of a band, for `winograd_bands`: the tiles of `band_tiles` one after the other.

Each goes over the same pixels for its own points, and asks for its share of those of the next
product.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.band_tiles import POINTS, TOGETHER, lines_asked, make_band_tile
from tinysmooth.kernels.convolution.band_transforms import FEW
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES

_ends_1, _ones_1, _twos_1 = (make_band_tile(1, points) for points in TOGETHER[1])
_ends_2, _ones_2, _twos_2 = (make_band_tile(2, points) for points in TOGETHER[2])
_ends_3, _ones_3, _twos_3 = (make_band_tile(3, points) for points in TOGETHER[3])
_p0_4, _p1_4, _p2_4, _p3_4, _p4_4, _p5_4 = (make_band_tile(4, points) for points in TOGETHER[4])

PASSES = (0, *(len(groups) for groups in TOGETHER.values()))
"""How many tiles make all points, by the channels at a time."""


@jit
def add_products(
    u: np.ndarray,
    u_part: int,
    u_tiles: np.ndarray,
    channels: int,
    grad: np.ndarray,
    grad_offset: int,
    grad_tiles: np.ndarray,
    line: int,
    pixel: int,
    tiles: int,
    sums: np.ndarray,
    to: int,
    add: int,
    ahead: np.ndarray,
    ahead_offset: int,
) -> None:
    """Add up the products of sixteen filters with all channels, up to four at a time."""
    for c in range(0, channels, FEW):
        here, there = c // FEW * u_part, to + c * POINTS * LANES
        width = min(channels - c, FEW)
        asked = tiles * lines_asked(PASSES[width]) * LANES
        second, third = ahead_offset + asked, ahead_offset + 2 * asked
        if width == 4:
            _p0_4(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                  sums, there, add, ahead, ahead_offset)  # fmt: skip
            _p1_4(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                  sums, there, add, ahead, second)  # fmt: skip
            _p2_4(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                  sums, there, add, ahead, third)  # fmt: skip
            _p3_4(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                  sums, there, add, ahead, third + asked)  # fmt: skip
            _p4_4(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                  sums, there, add, ahead, third + 2 * asked)  # fmt: skip
            _p5_4(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                  sums, there, add, ahead, third + 3 * asked)  # fmt: skip
        elif width == 3:
            _ends_3(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, ahead_offset)  # fmt: skip
            _ones_3(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, second)  # fmt: skip
            _twos_3(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, third)  # fmt: skip
        elif width == 2:
            _ends_2(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, ahead_offset)  # fmt: skip
            _ones_2(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, second)  # fmt: skip
            _twos_2(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, third)  # fmt: skip
        else:
            _ends_1(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, ahead_offset)  # fmt: skip
            _ones_1(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, second)  # fmt: skip
            _twos_1(u, here, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles,
                    sums, there, add, ahead, third)  # fmt: skip
