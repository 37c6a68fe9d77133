"""Grids against a search over every window and every tap."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tinysmooth.kernels.convolution.geometry import output_size
from tinysmooth.kernels.convolution.grids import (
    grid_of_images,
    grids_of_gradient,
    zones,
)

CHANNELS = 3
FILTERS = 2


@st.composite
def shapes(draw):
    """Draw (size of the images, filters, stride, padding, size of the result)."""

    def pair(low, high):
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    source, kernel, stride, padding = pair(1, 9), pair(1, 7), pair(1, 3), pair(0, 8)
    source = tuple(max(s, k - 2 * p) for s, k, p in zip(source, kernel, padding, strict=True))
    return source, kernel, stride, padding, output_size(*source, kernel, stride, padding)


def pairs(source, kernel, stride, padding, size):
    """Return every (pixel of out, tap, pixel of x) of one image that is not on padding."""
    found = set()
    for window in itertools.product(*map(range, size)):
        for tap in itertools.product(*map(range, kernel)):
            pixel = tuple(
                w * s - p + t for w, s, p, t in zip(window, stride, padding, tap, strict=True)
            )
            if all(0 <= at < end for at, end in zip(pixel, source, strict=True)):
                found.add((window, tap, pixel))
    return found


def met(grid):
    """Return every (row of the packed taps, pixel of out, source pixel) of a grid."""
    for i, j in itertools.product(range(grid.windows_down), range(grid.windows_across)):
        out = (
            i * grid.out_step_down + grid.out_start_down,
            j * grid.out_step_across + grid.out_start_across,
        )
        for t, u in itertools.product(range(grid.taps_down), range(grid.taps_across)):
            pixel = (
                i * grid.step_down + grid.start_down + t,
                j * grid.step_across + grid.start_across + u,
            )
            yield grid.first_row + t * grid.row_of_taps + u * grid.source_channels, out, pixel


@given(shape=shapes())
def test_zones_meet_every_tap_inside_the_image_once_and_nothing_else(shape):
    source, kernel, stride, padding, size = shape
    grid = grid_of_images((5, *source, CHANNELS), FILTERS, kernel, size, stride, padding)
    found = [
        (out, divmod(row // CHANNELS, kernel[1]), pixel)
        for zone in zones(grid)
        for row, out, pixel in met(zone)
    ]
    assert len(found) == len(set(found))
    assert set(found) == pairs(*shape)


@given(shape=shapes())
def test_together_zones_have_each_window_once(shape):
    source, kernel, stride, padding, size = shape
    grid = grid_of_images((5, *source, CHANNELS), FILTERS, kernel, size, stride, padding)
    cut = zones(grid)
    found = [
        (i + zone.out_start_down, j + zone.out_start_across)
        for zone in cut
        for i, j in itertools.product(range(zone.windows_down), range(zone.windows_across))
    ]
    assert sorted(found) == sorted(itertools.product(*map(range, size)))
    windows = [zone.windows_down * zone.windows_across for zone in cut]
    assert windows[0] == max(windows)


@given(shape=shapes())
def test_zones_of_phases_meet_what_the_forward_pass_met(shape):
    source, kernel, stride, padding, size = shape
    grids, orders = grids_of_gradient(
        (5, *size, FILTERS), kernel, (5, *source, CHANNELS), stride, padding
    )
    found = []
    for grid, order in zip(grids, orders, strict=True):
        for zone in zones(grid):
            for row, pixel, window in met(zone):
                t, u = divmod(row // FILTERS, max(1, order.taps_across))
                tap = order.first_tap + t * order.step_down + u * order.step_across
                found.append((window, divmod(tap, kernel[1]), pixel))
    assert len(found) == len(set(found))
    assert set(found) == pairs(*shape)
