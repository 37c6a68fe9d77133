"""Every rung of the convolution ladder against the definition, and the fast path's own claims."""

import copy
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plans import forget_plans

from tinysmooth import kernels
from tinysmooth.kernels import memory, thread_count
from tinysmooth.kernels.convolution import (
    definition,
    fast,
    few_channels,
    few_filters,
    im2col,
    loops,
    reference,
    windows_plans,
    windows_route,
    winograd,
    winograd_bands_route,
    winograd_costs,
    winograd_route,
    winograd_shared_route,
)
from tinysmooth.kernels.convolution.geometry import Work, output_size
from tinysmooth.kernels.convolution.transforms import (
    both_ways,
    filter_gradient_transform,
    filter_transform,
    input_transform,
    output_gradient_transform,
    output_transform,
    pair_filter_gradient_transform,
    pair_input_transform,
    pair_output_gradient_transform,
    shared_filter_transform,
    shared_input_transform,
    shared_output_transform,
)
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.thread_count import set_num_threads, use_threads
from tinysmooth.kernels.vectors import WIDE

needs_compilation = pytest.mark.skipif(not ENABLED, reason="Winograd's vectors need a compiler")

NAMES = ("conv2d_forward", "conv2d_backward_data", "conv2d_backward_weight")
RUNGS = {"im2col": im2col, "loops": loops, "winograd": winograd, "fast": fast}
# Largest error relative to the largest number of the exact result, as the package documents it.
FLOAT32_TOLERANCE = dict(zip(NAMES, (2e-5, 2e-5, 1e-4), strict=True))


class Case:
    """Arrays of one convolution, in float64 and rounded to float32 first, so both are the same."""

    def __init__(self, seed, batch, size, channels, filters, kernel, stride, padding):
        rng = np.random.default_rng(seed)

        def numbers(*shape):
            return rng.standard_normal(shape).astype(np.float32).astype(np.float64)

        self.stride, self.padding = stride, padding
        self.x = numbers(batch, *size, channels)
        self.weight = numbers(filters, channels, *kernel)
        self.grad = numbers(batch, *output_size(*size, kernel, stride, padding), filters)

    def run(self, rung, name, dtype=np.float64):
        x, weight, grad = (a.astype(dtype) for a in (self.x, self.weight, self.grad))
        for array in (x, weight, grad):
            array.flags.writeable = False  # a kernel that writes to its input fails here
        how = (self.stride, self.padding)
        args = {
            "conv2d_forward": (x, weight, *how),
            "conv2d_backward_data": (grad, weight, x.shape, *how),
            "conv2d_backward_weight": (x, grad, weight.shape, *how),
        }[name]
        out = getattr(rung, name)(*args)
        assert out.dtype == dtype and out.flags.c_contiguous
        return out

    def typical(self, name):
        """Return the size that the sums have by chance: the root of the sum of their squares."""
        squares = copy.copy(self)
        squares.x, squares.weight, squares.grad = self.x**2, self.weight**2, self.grad**2
        return math.sqrt(squares.run(im2col, name).max(initial=0))


def error(out, exact, at_least=0.0):
    assert out.shape == exact.shape
    # Where filters see nothing but the border, all numbers are 0.
    largest = max(np.abs(exact).max(initial=0), at_least, 1e-30)
    return np.abs(out - exact).max(initial=0) / largest


def cases(most_channels, most_size):
    """Draw shapes: sizes from 1, tails in the channels, and padding beyond what a kernel needs."""

    @st.composite
    def draw_case(draw):
        def pair(low, high):
            return draw(st.integers(low, high)), draw(st.integers(low, high))

        kernel = draw(st.sampled_from([(3, 3), pair(1, 7)]))
        stride = draw(st.sampled_from([(1, 1), pair(1, 3)]))
        padding = pair(0, 3)
        low = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
        size = tuple(draw(st.integers(s, max(s, most_size))) for s in low)
        channels, filters = pair(1, most_channels)
        batch = draw(st.integers(1, 5))
        seed = draw(st.integers(0, 2**32 - 1))
        return Case(seed, batch, size, channels, filters, kernel, stride, padding)

    return draw_case()


@pytest.fixture(autouse=True)
def many_parts(monkeypatch):
    """Cut small work in parts too."""
    monkeypatch.setattr(thread_count, "SMALLEST_PART", 1)
    forget_plans()
    yield
    forget_plans()


def force_zones(monkeypatch, yes):
    """Cut windows in zones along the border wherever they meet other taps there, or never.

    A cut is so cheap then that its route costs less than any other: less than nothing.
    """
    monkeypatch.setattr(windows_plans, "ZONE", -1e18 if yes else 1e18)
    forget_plans()
    shapes = (2, 6, 7, 3), (5, 3, 3, 3)
    number = len(windows_plans.plan_forward(*shapes, (6, 7), (1, 1), (1, 1)).grids)
    assert number == (9 if yes else 1)


WAYS = ("few tiles", "blocks of tiles", "shared tiles", "bands", "strips", "zones")


def has_bands(work):
    """Tell whether the kernels of `winograd_bands` can run."""
    return work[4:6] == ((3, 3), (1, 1))


def force_way(monkeypatch, way, stride=(1, 1)):
    """Let every shape go one way, as far as that is one for its stride."""
    costs = {"tiles": math.inf, "shared tiles": math.inf}
    if "tiles" in way and stride == (1, 1):
        costs["shared tiles" if way == "shared tiles" else "tiles"] = 0
    monkeypatch.setattr(winograd_route, "are_few", lambda *a, **k: way == "few tiles")
    monkeypatch.setattr(winograd_costs, "cost", lambda *a: costs["tiles"])
    monkeypatch.setattr(winograd_shared_route, "cost", lambda *a: costs["shared tiles"])
    monkeypatch.setattr(
        winograd_bands_route,
        "cost",
        lambda work: 0 if way == "bands" and has_bands(work) else math.inf,
    )
    force_zones(monkeypatch, way == "zones")


SMALL = [
    Case(0, 2, (4, 5), 2, 3, (3, 3), (1, 1), (1, 1)),
    Case(1, 1, (5, 4), 3, 2, (3, 3), (1, 1), (0, 2)),
    Case(2, 2, (1, 1), 2, 2, (3, 3), (1, 1), (3, 3)),
    Case(3, 1, (5, 6), 2, 2, (2, 3), (2, 3), (0, 1)),
    Case(4, 2, (3, 4), 1, 2, (1, 1), (2, 2), (0, 0)),
    Case(5, 1, (4, 4), 2, 1, (4, 1), (1, 2), (3, 0)),
    Case(6, 1, (3, 3), 1, 1, (5, 5), (3, 1), (2, 3)),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rung", RUNGS)
def test_every_rung_equals_the_definition(rung, name):
    for case in SMALL:
        exact = case.run(definition, name)
        assert error(case.run(RUNGS[rung], name), exact) < 1e-12
        assert error(case.run(RUNGS[rung], name, np.float32), exact) < FLOAT32_TOLERANCE[name]


@given(case=cases(most_channels=6, most_size=8))
@settings(max_examples=15, deadline=None)
def test_float64_rungs_are_exact(case):
    for name in NAMES:
        exact = case.run(im2col, name)
        for rung in (winograd, fast):
            assert error(case.run(rung, name), exact) < 1e-11


@given(case=cases(most_channels=70, most_size=13), num_threads=st.integers(1, 3))
@example(Case(3261, 1, (4, 2), 10, 1, (6, 6), (1, 1), (1, 2)), 1)  # one sum, 555 times too small
@settings(max_examples=60, deadline=None)
def test_fast_float32_is_as_exact_as_documented(case, num_threads):
    set_num_threads(num_threads)
    for name in NAMES:
        exact = case.run(im2col, name)
        # A result of few numbers may happen to cancel; the error of no way of adding follows that.
        got = error(case.run(fast, name, np.float32), exact, case.typical(name))
        assert got < FLOAT32_TOLERANCE[name]


# Each route and each tail: panels of 64, 48, 32 and 16 filters, borders, several blocks of tiles.
ROUTES = [
    Case(10, 2, (30, 29), 16, 64, (3, 3), (1, 1), (1, 1)),
    Case(11, 1, (16, 16), 64, 112, (3, 3), (1, 1), (1, 1)),
    Case(12, 3, (15, 18), 33, 41, (3, 3), (1, 1), (2, 0)),
    Case(13, 2, (16, 16), 3, 32, (3, 3), (1, 1), (1, 1)),
    Case(14, 2, (17, 16), 8, 24, (5, 5), (1, 1), (2, 2)),
    Case(15, 2, (19, 16), 5, 72, (7, 7), (1, 1), (3, 3)),
    Case(16, 1, (20, 21), 3, 16, (7, 7), (2, 2), (3, 3)),
    Case(17, 2, (13, 13), 32, 64, (1, 1), (1, 1), (0, 0)),
    Case(18, 2, (12, 13), 12, 70, (1, 1), (1, 1), (0, 0)),
    Case(19, 2, (14, 13), 20, 40, (3, 3), (2, 2), (1, 1)),
    # Few tiles, whose filters are transformed where they are used.
    Case(21, 3, (4, 3), 70, 150, (3, 3), (1, 1), (1, 1)),
    Case(22, 1, (7, 9), 40, 33, (5, 4), (1, 1), (2, 1)),
    # Few windows and many filters; windows that need no zeros, with many channels or a stride.
    Case(23, 1, (3, 3), 20, 200, (3, 3), (2, 2), (1, 1)),
    Case(24, 2, (9, 10), 130, 36, (1, 1), (2, 3), (0, 0)),
    Case(25, 2, (9, 10), 5, 36, (3, 2), (2, 1), (0, 0)),
    # Pixels that are asked for in two halves: panels for all threads, panels of a thread.
    Case(32, 2, (9, 10), 130, 112, (1, 1), (1, 1), (0, 1)),
    Case(33, 1, (3, 3), 60, 200, (1, 1), (1, 1), (1, 0)),
    # Products of matrices: of a few pixels, of many.
    Case(34, 2, (9, 10), 130, 112, (1, 1), (1, 1), (0, 0)),
    Case(35, 3, (13, 12), 2, 200, (1, 1), (1, 1), (0, 0)),
    # A row of more windows than a block, a filter deeper than a block, steps over whole pixels.
    Case(26, 1, (3, 450), 2, 6, (2, 5), (1, 1), (0, 2)),
    Case(27, 2, (5, 5), 100, 20, (3, 3), (2, 2), (1, 1)),
    Case(28, 2, (11, 12), 6, 9, (2, 1), (3, 3), (1, 0)),
    # Two, three and four windows in a vector, with and without a border, with a step.
    Case(29, 3, (9, 12), 1, 8, (5, 5), (1, 1), (0, 0)),
    Case(30, 2, (7, 9), 3, 5, (3, 3), (1, 1), (1, 1)),
    Case(31, 2, (10, 19), 5, 4, (4, 5), (2, 2), (2, 1)),
]


@pytest.mark.parametrize("case", ROUTES, ids=lambda case: str(case.weight.shape))
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_each_route_of_the_fast_rung(case, num_threads):
    set_num_threads(num_threads)
    for name in NAMES:
        out = case.run(fast, name, np.float32)
        assert error(out, case.run(im2col, name)) < FLOAT32_TOLERANCE[name]
        assert np.array_equal(out, case.run(fast, name, np.float32)), "same threads, same bits"
        # Prepared for these shapes, it works on the arrays at hand.
        other = copy.copy(case)
        other.x, other.weight, other.grad = -2 * case.x, 3 * case.weight, case.grad + 1
        found = other.run(fast, name, np.float32)
        assert error(found, other.run(im2col, name)) < FLOAT32_TOLERANCE[name]


@pytest.mark.parametrize(
    ("filters", "across", "columns", "step", "together"),
    [(8, 6, 3, 1, 2), (8, 7, 3, 1, 1), (5, 9, 3, 2, 3), (1, 32, 2, 1, 16), (9, 6, 3, 1, 1),
     (16, 6, 3, 1, 1), (40, 6, 3, 1, 1), (4, 8, 1, 1, 1), (4, 8, 2, 2, 1)],
)  # fmt: skip
def test_windows_share_a_vector_where_that_saves_products(filters, across, columns, step, together):
    assert few_filters.windows_together(filters, across, columns, step) == together


@pytest.mark.parametrize(
    ("shape", "how", "route"),
    [
        ((64, 32, 64, 64), (3, 1, 1), "WINOGRAD"),
        ((64, 3, 32, 64), (3, 1, 1), "WINDOWS"),  # hardly a channel to transform
        ((64, 64, 128, 32), (3, 2, 1), "WINDOWS"),
        ((64, 64, 64, 32), (1, 1, 0), "PRODUCT"),
        ((64, 64, 64, 32), (1, 1, 1), "WINDOWS"),
        ((64, 64, 64, 32), (1, 2, 0), "WINDOWS"),
        ((64, 1, 8, 28), (5, 1, 0), "FEW_FILTERS"),
        ((32, 32, 64, 32), (5, 1, 2), "WINOGRAD"),
        ((32, 64, 64, 32), (7, 1, 3), "WINOGRAD"),
        ((32, 32, 32, 24), (7, 1, 0), "SHARED"),
        ((32, 32, 32, 15), (7, 1, 3), "SHARED"),
        ((32, 32, 32, 9), (5, 1, 2), "SHARED"),
        ((64, 64, 64, 9), (3, 1, 1), "SHARED"),
        ((64, 64, 64, 10), (3, 1, 1), "WINOGRAD"),
        ((32, 32, 32, 24), (7, 2, 3), "WINDOWS"),
        ((2, 32, 32, 9), (7, 1, 3), "WINDOWS"),  # as few products: the others fall on padding
    ],
)
def test_each_shape_goes_the_way_that_was_measured_as_the_quickest(shape, how, route):
    batch, channels, filters, side = shape
    set_num_threads(2)
    kernel, stride, padding = ((number,) * 2 for number in how)
    shapes = (batch, side, side, channels), (filters, channels, *kernel)
    assert fast._forward(*shapes, stride, padding, True, 2)[0] is fast.Route[route]


@pytest.mark.parametrize(
    ("channels", "filters", "side", "kernel", "stride", "route"),
    [
        (64, 64, 32, 3, 1, "WINOGRAD"),
        (3, 6, 32, 5, 1, "FEW_FILTERS"),
        (3, 64, 64, 7, 2, "FEW_CHANNELS"),
        (16, 120, 5, 5, 1, "WINDOWS"),  # of 25 taps a pixel meets one: 25 zones
        (64, 16, 33, 3, 2, "WINDOWS"),
        (64, 16, 33, 1, 2, "WINDOWS"),
        (64, 16, 33, 1, 1, "PRODUCT"),
    ],
)
def test_so_does_each_gradient_of_images(channels, filters, side, kernel, stride, route):
    set_num_threads(2)
    size = output_size(side, side, (kernel,) * 2, (stride,) * 2, (0, 0))
    shapes = (16, *size, filters), (filters, channels, kernel, kernel), (16, side, side, channels)
    found, _, _ = fast._backward_data(*shapes, (stride,) * 2, (0, 0), True, 2)
    assert found is fast.Route[route]


@pytest.mark.parametrize(
    ("channels", "filters", "side", "kernel", "stride", "route"),
    [
        (64, 64, 32, 3, 1, "WINOGRAD"),
        (3, 32, 64, 3, 1, "BANDS" if WIDE else "WINDOWS"),
        (4, 16, 32, 3, 1, "BANDS" if WIDE else "WINDOWS"),
        (6, 16, 30, 3, 1, "BANDS" if WIDE else "WINDOWS"),
        (8, 16, 30, 3, 1, "BANDS" if WIDE else "WINDOWS"),
        (12, 16, 30, 3, 1, "WINOGRAD"),
        (1, 8, 30, 3, 1, "FEW_FILTERS"),  # half of each vector would be for nothing
        (3, 32, 64, 3, 2, "WINDOWS"),
        (3, 32, 64, 7, 1, "WINDOWS"),
        (1, 32, 30, 3, 1, "BANDS" if WIDE else "WINDOWS"),
        (1, 32, 28, 3, 1, "WINDOWS"),  # of 26 pixels in a line, two would be copied
        (3, 32, 7, 3, 1, "WINDOWS"),  # five pixels of eight in two tiles
        (64, 64, 4, 1, 1, "PRODUCT"),
        (64, 64, 5, 1, 1, "WINDOWS"),  # 400 pixels: their sum is worth sharing
    ],
)
def test_so_does_each_gradient_of_filters(channels, filters, side, kernel, stride, route):
    set_num_threads(2)
    size = output_size(side, side, (kernel,) * 2, (stride,) * 2, (0, 0))
    shapes = (16, side, side, channels), (16, *size, filters), (filters, channels, kernel, kernel)
    how = (stride,) * 2, (0, 0)
    assert fast.route_of_weight(*shapes, *how, True, 2)[0] is fast.Route[route]
    without = "PRODUCT" if route == "PRODUCT" else "WINDOWS"
    assert fast.route_of_weight(*shapes, *how, False, 2)[0] is fast.Route[without]


@pytest.mark.parametrize(
    ("tiles", "channels", "filters", "gradient", "few"),
    [
        (64, 256, 256, False, True),
        (64, 256, 256, True, True),
        (256, 256, 256, False, False),  # the panels would read V, 9 MB for each thread, from afar
        (128, 256, 256, False, WIDE),
        (128, 256, 256, True, True),
        (8, 512, 512, False, True),
        (512, 8, 24, False, False),  # each thread would make all of V, which is most of the work
        (200, 32, 10, False, False),  # one vector of filters: the second thread would have none
        (4096, 64, 64, False, False),
    ],
)
def test_each_thread_makes_all_of_v_where_that_was_measured_as_the_quickest(
    tiles, channels, filters, gradient, few
):
    set_num_threads(2)
    depth = winograd_costs.depth_of(channels, (3, 3), gradient)
    assert winograd_costs.are_few(tiles, depth, filters, gradient) is few


def test_few_filters_share_a_vector_unless_every_digit_is_wanted():
    work = Work(64, (24, 24), 1, 8, (5, 5), (1, 1))
    assert fast._route(work) == (fast.Route.FEW_FILTERS, 2)
    assert fast._route(work, winograd=False) == (fast.Route.WINDOWS, 1)


def test_switching_winograd_off_gains_the_last_digits(monkeypatch):
    case = Case(20, 2, (16, 16), 64, 64, (3, 3), (1, 1), (1, 1))
    monkeypatch.setattr(fast, "winograd_enabled", False)
    for name in NAMES:
        assert error(case.run(fast, name, np.float32), case.run(im2col, name)) < 2e-6


@pytest.mark.parametrize("stride", [1, 2])
def test_nan_and_infinity_reach_their_outputs(stride):
    x = np.zeros((1, 12, 12, 16), np.float32)
    x[0, 5, 5, 3] = np.nan
    weight = np.ones((16, 16, 3, 3), np.float32)
    out = fast.conv2d_forward(x, weight, (stride, stride), (1, 1))
    exact = reference.conv2d_forward(x, weight, (stride, stride), (1, 1))
    assert np.isnan(out[np.isnan(exact)]).all()


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("filters", [18, 8])
def test_a_nan_reaches_no_window_that_does_not_cover_it(monkeypatch, padding, filters):
    # Winograd spreads it over a tile and few filters over a vector, and both say so.
    monkeypatch.setattr(fast, "winograd_enabled", False)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 8, 3)).astype(np.float32)
    x[0, 4, 5, 1] = np.nan
    weight = rng.standard_normal((filters, 3, 3, 3)).astype(np.float32)
    out = fast.conv2d_forward(x, weight, (1, 1), (padding, padding))
    exact = im2col.conv2d_forward(x.astype(np.float64), weight, (1, 1), (padding, padding))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(exact))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_gives_an_empty_or_zero_result(name):
    case = Case(0, 0, (6, 6), 8, 8, (3, 3), (1, 1), (1, 1))
    out = case.run(fast, name, np.float32)
    assert out.shape == case.run(im2col, name).shape
    assert not out.any()


# ---- Winograd's transforms


@pytest.mark.parametrize("tile", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_all_tile_sizes_of_winograd_equal_the_definition(tile, name):
    for case in SMALL[:3]:

        class Rung:
            conv2d_forward = staticmethod(lambda *a: winograd.conv2d_forward(*a, tile=tile))  # noqa: B023
            conv2d_backward_data = staticmethod(
                lambda *a: winograd.conv2d_backward_data(*a, tile=tile)  # noqa: B023
            )
            conv2d_backward_weight = staticmethod(
                lambda *a: winograd.conv2d_backward_weight(*a, tile=tile)  # noqa: B023
            )

        assert error(case.run(Rung, name), case.run(definition, name)) < 1e-12


def test_f4_has_the_matrices_of_lavin_and_gray():
    b_t, g, a_t = winograd.matrices(4)
    assert b_t.tolist() == [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
    np.testing.assert_allclose(24 * g[:, 0], [6, -4, -4, 1, 1, 0])
    np.testing.assert_allclose(24 * g[:, 1], [0, -4, 4, 2, -2, 0], atol=1e-15)
    np.testing.assert_allclose(24 * g[:, 2], [0, -4, -4, 4, 4, 24], atol=1e-15)
    assert a_t[3].tolist() == [0, 1, -1, 8, -8, 1]


def test_one_dimensional_f4_is_the_correlation():
    b_t, g, a_t = winograd.matrices(4)
    rng = np.random.default_rng(0)
    d, taps = rng.standard_normal(6), rng.standard_normal(3)
    np.testing.assert_allclose(a_t @ ((g @ taps) * (b_t @ d)), np.correlate(d, taps), atol=1e-13)


@pytest.mark.parametrize(
    "function, side, pick",
    [
        (input_transform, 4, lambda b_t, g, a_t: b_t),
        (filter_transform, 4, lambda b_t, g, a_t: g),
        (output_transform, 4, lambda b_t, g, a_t: a_t),
        (output_gradient_transform, 4, lambda b_t, g, a_t: a_t.T),
        (filter_gradient_transform, 4, lambda b_t, g, a_t: g.T),
        (shared_input_transform, 3, lambda b_t, g, a_t: b_t),
        (shared_filter_transform, 3, lambda b_t, g, a_t: g),
        (shared_output_transform, 3, lambda b_t, g, a_t: a_t),
        (pair_input_transform, 2, lambda b_t, g, a_t: b_t),
        (pair_output_gradient_transform, 2, lambda b_t, g, a_t: a_t.T),
        (pair_filter_gradient_transform, 2, lambda b_t, g, a_t: g.T),
    ],
)
def test_the_written_out_transforms_are_the_matrices(function, side, pick):
    matrix = pick(*winograd.matrices(side))
    columns = np.eye(matrix.shape[1])
    np.testing.assert_allclose(np.array(function(*columns)), matrix, atol=1e-15)
    tile = np.random.default_rng(0).standard_normal((matrix.shape[1],) * 2)
    np.testing.assert_allclose(
        np.array(list(both_ways(function, tile.T))), matrix @ tile @ matrix.T, atol=1e-12
    )


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("kernel, stride", [((3, 3), (1, 1)), ((7, 7), (2, 2)), ((5, 4), (1, 3))])
def test_the_gradient_of_images_with_few_channels(channels, kernel, stride):
    # 37 rows are three bands, the last one short.
    case = Case(30, 2, (37, 9), channels, 10, kernel, stride, (2, 1))
    exact = case.run(im2col, "conv2d_backward_data")
    assert error(case.run(fast, "conv2d_backward_data", np.float32), exact) < 2e-6


@pytest.mark.parametrize("tiles", [3, 40, 64])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_channels_in_groups_of_any_size(tiles, num_threads, monkeypatch):
    """32, 48 and 64 channels at once, of which 150 leave a rest; 64 for the gradient of filters."""
    monkeypatch.setattr(winograd_costs, "cost", lambda *a, **k: 0)
    monkeypatch.setattr(winograd_route, "are_few", lambda *a, **k: True)
    forget_plans()
    set_num_threads(num_threads)
    case = Case(7, tiles, (4, 3), 150, 70, (3, 3), (1, 1), (1, 1))
    for name in NAMES:
        exact = case.run(im2col, name)
        assert error(case.run(fast, name, np.float32), exact) < FLOAT32_TOLERANCE[name]
    forget_plans()


@given(case=cases(most_channels=70, most_size=6), num_threads=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_all_ways_of_winograd_and_the_windows_agree(case, num_threads):
    """Each route on every shape it can do, whatever it costs."""
    set_num_threads(num_threads)
    exact = {name: case.run(im2col, name) for name in NAMES}
    for way in WAYS:
        with pytest.MonkeyPatch.context() as patch:
            force_way(patch, way, case.stride)
            for name in NAMES:
                out = case.run(fast, name, np.float32)
                assert error(out, exact[name]) < FLOAT32_TOLERANCE[name]
    forget_plans()


@needs_compilation
@pytest.mark.parametrize("floats", [2**20, 2**17, 1])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize(
    "case",
    [
        Case(34, 9, (9, 8), 20, 36, (7, 6), (1, 1), (3, 3)),
        Case(35, 1, (23, 31), 33, 72, (7, 7), (1, 1), (3, 2)),
        Case(36, 3, (7, 50), 65, 10, (5, 9), (1, 1), (1, 4)),
        Case(37, 4, (13, 12), 128, 17, (3, 4), (1, 1), (1, 1)),
    ],
    ids=lambda case: str(case.weight.shape),
)
def test_shared_tiles_of_many_images_and_in_strips(case, num_threads, floats, monkeypatch):
    """Several images at a time; an image in strips, of several lines and of one; tails in all."""
    monkeypatch.setattr(winograd_shared_route, "BLOCK_FLOATS", floats)
    force_way(monkeypatch, "shared tiles")
    set_num_threads(num_threads)
    for name in NAMES:
        out = case.run(fast, name, np.float32)
        assert error(out, case.run(im2col, name)) < FLOAT32_TOLERANCE[name]
        assert np.array_equal(out, case.run(fast, name, np.float32)), "same threads, same bits"


@needs_compilation
@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize(
    "case",
    [
        Case(51, 3, (9, 8), 3, 32, (3, 3), (1, 1), (1, 1)),  # where they lie
        Case(52, 1, (4, 14), 4, 48, (3, 3), (1, 1), (0, 0)),  # three threads, but one band
        Case(53, 2, (11, 9), 6, 16, (3, 3), (1, 1), (1, 1)),  # lines that fill no tiles, nor bands
        Case(54, 2, (7, 12), 7, 20, (3, 3), (1, 1), (2, 1)),  # filters that fill no vector
        Case(55, 1, (2, 3), 11, 5, (3, 3), (1, 1), (3, 4)),  # and more padding than pixels
        Case(56, 2, (9, 40), 1, 16, (3, 3), (1, 1), (1, 1)),  # ten tiles, in one group
        Case(57, 2, (6, 9), 1, 8, (3, 3), (1, 1), (0, 2)),
        Case(58, 1, (9, 12), 2, 32, (3, 3), (1, 1), (1, 1)),
        Case(59, 1, (7, 11), 5, 17, (3, 3), (1, 1), (0, 1)),
        Case(60, 2, (5, 12), 2, 1, (3, 3), (1, 1), (1, 1)),  # four tiles end behind the array
        Case(61, 3, (1, 10), 3, 16, (3, 3), (1, 1), (1, 1)),  # a line without a second
    ],
    ids=lambda case: str(case.weight.shape),
)
def test_bands_in_products_of_any_size(case, num_threads, monkeypatch):
    """All bands of an image at a time, a few, and one."""
    name = "conv2d_backward_weight"
    exact, lend = case.run(im2col, name), memory.workspace
    monkeypatch.setattr(memory, "workspace", lambda floats: np.full_like(lend(floats), np.nan))
    for tiles in (2**10, 16, 1):
        forget_plans()
        monkeypatch.setattr(winograd_bands_route, "CHUNK_TILES", tiles)
        force_way(monkeypatch, "bands")
        set_num_threads(num_threads)
        out = case.run(fast, name, np.float32)
        assert error(out, exact) < 3e-6
        assert np.array_equal(out, case.run(fast, name, np.float32)), "same threads, same bits"
    assert winograd_bands_route._prepare.cache_info().misses, "the bands were not taken"
    forget_plans()


# Pixels that compete for the same places of the cache (on Zen with AVX-512 they are not copied for
# that), rows of taps deeper than a block, both; few windows whose filters the threads share, with
# last lanes.
DEEP = [
    Case(40, 1, (4, 5), 260, 20, (3, 3), (2, 2), (1, 1)),
    Case(41, 2, (3, 4), 300, 7, (3, 4), (1, 1), (1, 2)),
    Case(42, 1, (3, 3), 20, 330, (3, 3), (1, 1), (1, 1)),
    Case(43, 1, (2, 3), 270, 200, (2, 3), (1, 1), (1, 1)),
]


@needs_compilation
@pytest.mark.parametrize("case", DEEP, ids=lambda case: str(case.weight.shape))
@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize("are_cut", [False, True])
def test_deep_windows_with_and_without_zones(case, num_threads, are_cut, monkeypatch):
    set_num_threads(num_threads)
    monkeypatch.setattr(few_channels, "cost", lambda *a, **k: math.inf)
    force_way(monkeypatch, "zones" if are_cut else "strips")
    for name in NAMES:
        out = case.run(fast, name, np.float32)
        assert error(out, case.run(im2col, name)) < FLOAT32_TOLERANCE[name]
    forget_plans()


@needs_compilation
@pytest.mark.parametrize("are_cut", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_windows_side_by_side_with_and_without_zones(are_cut, num_threads, monkeypatch):
    set_num_threads(num_threads)
    force_zones(monkeypatch, are_cut)
    case = Case(44, 3, (8, 8), 6, 4, (3, 3), (1, 1), (1, 1))
    x, weight, grad = (a.astype(np.float32) for a in (case.x, case.weight, case.grad))
    same = ((1, 1), (1, 1))
    found = (
        few_filters.convolve(x, weight, (8, 8), *same, together=4),
        few_filters.convolve_backward(grad, weight, x.shape, (1, 1), together=2),
        few_filters.filter_gradient(x, grad, weight.shape, *same, together=4),
    )
    for name, out in zip(NAMES, found, strict=True):
        assert error(out, case.run(im2col, name)) < 2e-6
    forget_plans()


@pytest.mark.parametrize(
    ("batch", "side", "channels", "filters", "how", "cut"),
    [
        (32, 15, 32, 32, (7, 1, 3), (49, 49)),
        (32, 16, 128, 256, (3, 2, 1), (4, 4)),
        (32, 32, 3, 32, (3, 1, 1), (9, 1)),  # the gradient gathers more than padding would take
        (1, 8, 2, 4, (3, 1, 1), (1, 1)),  # not worth finding the windows of nine zones
        (16, 8, 16, 16, (3, 1, 0), (1, 1)),  # no padding
    ],
)
def test_windows_are_cut_where_that_was_measured_as_quicker(
    batch, side, channels, filters, how, cut
):
    set_num_threads(2)
    kernel, stride, padding = ((number,) * 2 for number in how)
    size = output_size(side, side, kernel, stride, padding)
    shapes = (batch, side, side, channels), (filters, channels, *kernel)
    plans = (windows_plans.plan_forward, windows_plans.plan_gradient)
    assert tuple(len(plan(*shapes, size, stride, padding).grids) for plan in plans) == cut


@needs_compilation
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("taps", [(3, 3), (2, 3), (4, 5), (5, 2), (7, 7), (8, 6)])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_what_the_workspace_held_before_reaches_no_result(way, taps, num_threads, monkeypatch):
    """It is full of NaN, and nothing is written behind the floats that were asked for."""
    lent, guard = [], 64

    def full_of_nan(floats):
        lent.append(memory.empty(floats + guard, np.float32))
        lent[-1][:] = np.nan
        return lent[-1][:floats]

    set_num_threads(num_threads)
    monkeypatch.setattr(thread_count, "SMALLEST_PART", 1)
    monkeypatch.setattr(memory, "workspace", full_of_nan)
    force_way(monkeypatch, way)
    case = Case(31, 2, (13, 10), 19, 21, taps, (1, 1), (1, 2))
    for name in NAMES:
        exact = case.run(im2col, name)
        assert error(case.run(fast, name, np.float32), exact) < FLOAT32_TOLERANCE[name]
    assert lent and all(np.isnan(floats[-guard:]).all() for floats in lent)
    forget_plans()


def test_the_last_positions_leave_out_images_that_meet_no_third_row():
    def used(rows, columns):
        depth = winograd_costs.depth_of(10, (rows, columns))
        return depth.used, winograd_costs.used_in_last_row(depth, rows)

    assert used(3, 3) == (10, 10) and used(2, 3) == (10, 10)  # one row of images
    assert used(6, 3) == (20, 20) and used(9, 9) == (90, 90)  # whole 3x3 parts
    assert used(5, 5) == (40, 20) and used(4, 3) == (20, 10) and used(7, 7) == (90, 60)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(
    ("x", "bank", "size", "padding"),
    [
        ((1, 15, 15, 32), (32, 32, 7, 7), (15, 15), (3, 3)),
        ((32, 15, 15, 32), (32, 32, 7, 7), (15, 15), (3, 3)),
        ((2, 224, 224, 64), (200, 64, 5, 4), (224, 225), (2, 2)),
        ((3, 4, 5, 700), (9, 700, 4, 4), (1, 2), (0, 0)),
        ((2, 15, 21, 16), (16, 16, 7, 7), (15, 21), (3, 3)),  # slices of V of 4 KB, but for a gap
    ],
)
def test_every_tile_of_out_is_in_one_strip(x, bank, size, padding, threads, gradient):
    set_num_threads(threads)
    plan = winograd_shared_route._plan(x, bank, size, padding, gradient)
    lines, strips, _, v_slice, block, tiles, *_ = plan.sizes[11:]
    down, across = (-(-side // 3) for side in size)
    assert lines * (strips - 1) < down <= lines * strips and x[0] * strips >= min(threads, x[0])
    assert block * lines * across <= tiles and (block == 1 or strips == 1)
    assert 1 <= plan.parts <= min(threads, x[0] * strips)
    assert v_slice % 1024 != 0
    # Few images are cut, so that every thread has some; else only what is too large.
    assert (strips == 1) == (down == 1 or (x[0] >= threads and x[1] < 200))


STATISTICS = [
    (2, 8, 20, 12, 3),  # few tiles, a vector and a rest
    (3, 5, 17, 7, 3),  # tiles over the border
    (16, 16, 64, 19, 3),  # many tiles, enough work for two threads
    (4, 32, 80, 30, 3),  # two panels
    (2, 64, 256, 8, 3),  # filters shared among the threads
    (8, 16, 35, 13, 5),  # shifted images
]


@needs_compilation
@pytest.mark.parametrize("route", ["winograd", "shared", "strips", "zones"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(("batch", "channels", "filters", "size", "taps"), STATISTICS)
def test_statistics_taken_on_the_way_are_those_of_the_result(
    batch, channels, filters, size, taps, number, offset, route, monkeypatch
):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, size, size, channels)).astype(np.float32)
    weight = rng.standard_normal((filters, channels, taps, taps)).astype(np.float32)
    x += np.float32(offset)
    arguments = [x, weight, (size, size), (taps // 2, taps // 2)]
    if route in ("strips", "zones"):
        arguments.insert(3, (1, 1))  # the stride
        force_zones(monkeypatch, route == "zones")
    with use_threads(number):
        if route in ("winograd", "shared"):
            room = winograd_route if route == "winograd" else winograd_shared_route
            out, statistics = room.convolve_with_statistics(*arguments)
            plain = room.convolve(*arguments, backward=False)
        else:
            out, statistics = windows_route.convolve_with_statistics(*arguments)
            plain = windows_route.convolve(*arguments)
    np.testing.assert_array_equal(out, plain)
    mean, var = statistics
    wide = out.astype(np.float64)
    scale = np.sqrt((wide**2).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(mean / scale, wide.mean(axis=(0, 1, 2)) / scale, atol=1e-6)
    np.testing.assert_allclose(var, wide.var(axis=(0, 1, 2)), rtol=1e-5)


@needs_compilation
def test_statistics_of_a_constant_have_no_variance_and_those_of_nan_are_left_to_others():
    x = np.ones((4, 16, 16, 16), np.float32)
    weight = np.zeros((32, 16, 3, 3), np.float32)
    weight[:, 0, 1, 1] = 0.1
    _, (mean, var) = fast.conv2d_with_statistics(x, weight, (1, 1), (1, 1))
    np.testing.assert_allclose(mean, 0.1, rtol=1e-5)
    np.testing.assert_allclose(var, 0, atol=1e-12)
    x[1, 2, 3, 4] = np.nan
    assert fast.conv2d_with_statistics(x, weight, (1, 1), (1, 1))[1] is None


def test_where_nobody_takes_statistics_the_convolution_is_the_same():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 6, 3)).astype(np.float32)
    weight = rng.standard_normal((4, 3, 2, 2)).astype(np.float32)
    for kind in (np.float32, np.float64):
        arguments = (x.astype(kind), weight.astype(kind), (1, 1), (0, 0))
        for names in ("compiled", "reference"):
            with kernels.use_kernels(names):
                out, statistics = kernels.conv2d_with_statistics(*arguments)
                assert names == "compiled" or statistics is None
                np.testing.assert_array_equal(out, kernels.conv2d_forward(*arguments))


@needs_compilation
def test_statistics_are_taken_of_one_tap_too_though_it_is_a_product_without_them():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 9, 9, 33)).astype(np.float32)
    weight = rng.standard_normal((40, 33, 1, 1)).astype(np.float32)
    out, (mean, var) = kernels.conv2d_with_statistics(x, weight, (1, 1), (0, 0))
    np.testing.assert_allclose(mean, out.mean((0, 1, 2), np.float64), rtol=0, atol=1e-6)
    np.testing.assert_allclose(var, out.var((0, 1, 2), np.float64), rtol=1e-5)
    alone = kernels.conv2d_forward(x, weight, (1, 1), (0, 0))
    np.testing.assert_allclose(out, alone, rtol=0, atol=1e-5)
