"""The generated tiles and the vector type against NumPy."""

import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest

from tinysmooth.kernels import jit, microkernel, panels
from tinysmooth.kernels import vectors as v
from tinysmooth.kernels.convolution import band_tiles
from tinysmooth.kernels.convolution.winograd import matrices


def needs_compilation(test):
    """Leave a test out where nothing can be compiled; the last test of the file runs it then."""
    return test if jit.ENABLED else None


WIDTHS = [64, 48, 32, 16] if panels.PANEL == 64 else [16]


def arrays(rows, depth, width, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(np.float32) for s in ((rows, depth), (depth, width))]


def lines_ahead(array):
    """Return the last arguments of a product: lines to ask for, which may lie anywhere."""
    return array.reshape(-1), 1 << 40, 1 << 40


def product(a, rows, columns, b, c, *, offsets=(0, 0, 0), first=0, add=0):
    """Run ``c[offsets[2]:] (+)= A @ b`` with rows first to the last of A."""
    at_a, at_b, at_c = offsets
    width, c_rows = b.shape[1], (np.arange(rows.size) - first) * c.shape[1]
    panels.panel_product(
        *(a.reshape(-1), at_a, rows, first, rows.size, columns, columns.size),
        *(b.reshape(-1), at_b, width, width, c.reshape(-1), at_c, c_rows, 0, add),
        *lines_ahead(b),
    )


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [4, 8, 12, 16, 20, 28, 64, 260])
@pytest.mark.parametrize("depth", [1, 2, 7, 8, 24, 32, 40, 52])
@pytest.mark.parametrize("add", [0, 1])
def test_a_panel_product_writes_or_adds_the_matrix_product(width, rows, depth, add):
    a, b = arrays(rows, depth, width)
    c = np.full((rows + 1, width), 7, np.float32)
    columns = np.arange(64)[:depth]  # what follows counts up as well, but belongs to nothing
    product(a, np.arange(rows) * depth, columns, b, c, add=add)
    np.testing.assert_allclose(c[:-1], a @ b + 7 * add, rtol=0, atol=1e-5 * max(depth, 10))
    assert (c[-1] == 7).all(), "wrote beyond its rows"


@needs_compilation
@pytest.mark.parametrize(
    ("height", "vectors", "neighbours", "asks"),
    [
        *((6, 4, False, False), (8, 3, False, False), (8, 2, False, False)),
        *((12, 1, False, False), (6, 1, False, True), (16, 1, True, False)),
        *((6, 4, False, True), (9, 2, True, True)),
    ],
)
def test_llvm_unrolls_no_loop_of_a_tile(height, vectors, neighbours, asks):
    tile = microkernel.make_microkernel(height, vectors, neighbours, asks)
    if asks:

        @numba.njit
        def run(a, rows, columns, b, c):
            tile(a, 0, rows, 0, columns, columns.size, b, 0, 64, c, 0, rows, 0, 0, b, 0)

    else:

        @numba.njit
        def run(a, rows, columns, b, c):
            tile(a, 0, rows, 0, columns, columns.size, b, 0, 64, c, 0, rows, 0, 0)

    floats, table = numba.float32[::1], numba.int64[::1]
    run.compile((floats, table, table, floats, floats))
    (code,) = run.inspect_llvm().values()
    # Two steps in the loop, and one behind it for an odd depth.
    assert len(re.findall(r"call .*<16 x float> @llvm\.fma", code)) == 3 * height * vectors
    # A line in two steps.
    assert len(re.findall(r"call .*@llvm\.prefetch", code)) == asks


BAND_TILES = [(width, points) for width, group in band_tiles.TOGETHER.items() for points in group]


@needs_compilation
@pytest.mark.parametrize(("width", "points"), BAND_TILES)
def test_nor_of_a_tile_of_bands_which_asks_for_its_share(width, points):
    tile = band_tiles.make_band_tile(width, points)

    @numba.njit
    def run(u, grad, sums, table):
        tile(u, 0, table, grad, 0, table, 99, 16, table.size, sums, 0, 0, grad, 0)

    floats = numba.float32[::1]
    run.compile((floats, floats, floats, numba.int64[::1]))
    (code,) = run.inspect_llvm().values()
    products = len(re.findall(r"call .*<16 x float> @llvm\.fma", code))
    # The values at 2 and -2 take multiply-adds as well: those of the first tile, and of the next.
    assert 4 * len(points) * width <= products <= 4 * len(points) * width + 16
    assert len(re.findall(r"call .*@llvm\.prefetch", code)) == len(points)


@needs_compilation
@pytest.mark.parametrize(("width", "points"), BAND_TILES)
@pytest.mark.parametrize("tiles", [1, 2, 5])
@pytest.mark.parametrize("add", [0, 1])
def test_a_tile_of_bands_meets_the_values_of_its_pixels(width, points, tiles, add):
    tile = band_tiles.make_band_tile(width, points)

    @jit.jit
    def run(u, u_tiles, grad, grad_tiles, sums, add):
        tile(u, 5, u_tiles, grad, 7, grad_tiles, 300, 18, u_tiles.size, sums, 16, add, grad, 0)

    rng = np.random.default_rng(0)
    u = rng.standard_normal(4000).astype(np.float32)
    grad = rng.standard_normal(2000).astype(np.float32)
    u_tiles, grad_tiles = 100 * rng.permutation(9)[:tiles], 72 * rng.permutation(9)[:tiles]
    sums = np.full(16 + 24 * width * 16, 3, np.float32)
    run(u, u_tiles, grad, grad_tiles, sums, add)
    down, across = matrices(2)[2].T, matrices(4)[2].T  # A of F(2, 3) and of F(4, 3)
    expected = np.zeros((4, 6, width, 16))
    for begin, at in zip(5 + u_tiles, 7 + grad_tiles, strict=True):
        places = at + 300 * np.arange(2)[:, None, None] + 18 * np.arange(4)[:, None]
        values = np.einsum("qi,pj,ijk->qpk", down, across, grad[places + np.arange(16)])
        numbers = u[begin + np.arange(24 * 16)].reshape(4, 6, 16)[..., :width]
        expected += numbers[..., None] * values[:, :, None]
    found = sums[16:].reshape(4, 6, width, 16)
    others = [p for p in range(6) if p not in points]
    np.testing.assert_allclose(found[:, points], expected[:, points] + 3 * add, atol=1e-3)
    assert (found[:, others] == 3).all(), "sums of other points"
    assert (sums[:16] == 3).all()


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [1, 3, 5, 9, 12, 18, 31, 301])
@pytest.mark.parametrize("depth", [5, 8, 16])  # of 8 and 16 vectors of B are held
@pytest.mark.parametrize("add", [0, 1])
def test_rows_of_a_result_lie_anywhere_and_the_last_may_be_repeated(width, rows, depth, add):
    a, b = arrays(rows, depth, width)
    rng = np.random.default_rng(3)
    places = rng.permutation(rows + 5)[:rows]
    filled = np.minimum(np.arange(-(-rows // 4) * 4), rows - 1)
    c = np.full((rows + 5, width), 7, np.float32)
    panels.panel_product(
        *(a.reshape(-1), 0, filled * depth, 0, rows, np.arange(depth), depth),
        *(b.reshape(-1), 0, width, width, c.reshape(-1), 0, places[filled] * width, 0, add),
        *lines_ahead(c),
    )
    expected = np.full_like(c, 7)
    expected[places] = a @ b + 7 * add
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-4)


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [3, 4, 8, 9, 18, 20, 40])
@pytest.mark.parametrize("depth", [5, 8])
def test_rows_of_a_result_may_be_evenly_spaced(width, rows, depth):
    a, b = arrays(rows, depth, width)
    filled = -(-rows // 4) * 4
    c = np.full((filled + 1, 100), 7, np.float32)
    starts = np.minimum(np.arange(filled), rows - 1) * depth
    panels.panel_product(
        *(a.reshape(-1), 0, starts, 0, rows, np.arange(depth), depth),
        *(b.reshape(-1), 0, width, width, c.reshape(-1), 3, starts, 100, 0),
        *lines_ahead(a),
    )
    expected = np.full_like(c, 7)
    expected[:rows, 3 : 3 + width] = a @ b
    c[rows:filled] = 7  # up to three rows more may be written
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-4)


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [4, 8, 12, 20, 24, 44])
def test_exchanged_tables_read_the_transpose(width, rows):
    a, b = arrays(rows, 9, width)
    c = np.full((rows + 1, width), 7, np.float32)
    product(a.T.copy(), np.arange(rows), np.arange(9) * rows, b, c)
    np.testing.assert_allclose(c[:-1], a @ b, rtol=0, atol=1e-4)
    assert (c[-1] == 7).all(), "wrote beyond its rows"


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("changed", ["rows", "columns"])
@pytest.mark.parametrize("place", [0, 1, 7, 8, 9, 14, 15])
@pytest.mark.parametrize("depth", [9, 16])  # of 9 no vectors of B are held
def test_tables_that_only_nearly_count_up_pick_the_right_numbers(width, changed, place, depth):
    rng = np.random.default_rng(2)
    image = rng.standard_normal(200).astype(np.float32)
    tables = {"rows": np.arange(24), "columns": np.arange(depth)}
    tables[changed][min(place, tables[changed].size - 1)] = 99
    _, b = arrays(1, depth, width)
    c = np.zeros((24, width), np.float32)
    product(image, tables["rows"], tables["columns"], b, c)
    expected = image[tables["rows"][:, None] + tables["columns"]] @ b
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-4)


@needs_compilation
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([*range(9)], True),
        ([*range(9), *range(30, 39)], True),
        ([*range(18)], True),
        ([], True),
        ([*range(8)], False),
        ([*range(10)], False),
        ([*range(9), *range(30, 38), 40], False),
        ([*range(0, 18, 2)], False),
    ],
)
def test_runs_of_nine_are_found(rows, expected):
    table = np.array([99, *rows, 99])
    assert panels.are_runs(table, 1, 1 + len(rows), 9) == expected


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("runs", [1, 3, 5])
@pytest.mark.parametrize("add", [0, 1])
def test_rows_in_runs_of_nine_as_those_of_a_first_layer(width, runs, add):
    rng = np.random.default_rng(4)
    image = rng.standard_normal(40 * runs).astype(np.float32)
    rows, columns = (np.arange(runs)[:, None] * 30 + np.arange(9)).ravel(), np.arange(8) * 3
    filled = np.minimum(np.arange(-(-rows.size // 4) * 4), rows.size - 1)
    _, b = arrays(1, 8, width)
    c = np.full((rows.size + 1, width), 7, np.float32)
    panels.panel_product(
        *(image, 0, rows[filled], 0, rows.size, columns, 8),
        *(b.reshape(-1), 0, width, width, c.reshape(-1), 0, filled * width, 0, add),
        *lines_ahead(b),
    )
    expected = image[rows[:, None] + columns] @ b + 7 * add
    np.testing.assert_allclose(c[:-1], expected, rtol=0, atol=1e-4)
    assert (c[-1] == 7).all(), "wrote beyond its rows"


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("place", [1, 8, 9, 17, 26, 35])
def test_rows_in_runs_of_nine_but_for_one(width, place):
    rng = np.random.default_rng(5)
    image = rng.standard_normal(200).astype(np.float32)
    rows, columns = (np.arange(4)[:, None] * 20 + np.arange(9)).ravel(), np.arange(8) * 3
    rows[place] = 99
    _, b = arrays(1, 8, width)
    c = np.zeros((36, width), np.float32)
    product(image, rows, columns, b, c)
    np.testing.assert_allclose(c, image[rows[:, None] + columns] @ b, rtol=0, atol=1e-4)


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
def test_tables_in_any_order_pick_any_number(width):
    rng = np.random.default_rng(1)
    image = rng.standard_normal(500).astype(np.float32)
    rows, columns = rng.integers(0, 250, 16), rng.integers(0, 240, 11)
    _, b = arrays(1, 11, width)
    c = np.zeros((12, width), np.float32)
    product(image, rows, columns, b, c, offsets=(10, 0, 0), first=4)
    expected = image[10 + rows[4:, None] + columns] @ b
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-4)


@needs_compilation
@pytest.mark.parametrize("depth", [7, 8, 24])
@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("add", [0, 1])
def test_offsets_and_strides_pick_parts_of_larger_matrices(depth, exchanged, add):
    a, b = arrays(40, 40, 64)
    width = WIDTHS[-1]
    c = np.ones((30, 100), np.float32)
    rows, columns = np.arange(28) * 40, np.arange(depth)
    if exchanged:
        rows, columns = np.arange(28), np.arange(depth) * 40
    c_rows = (np.arange(28) - 4) * 100
    panels.panel_product(
        *(a.reshape(-1), 3 * 40 + 5, rows, 4, 28, columns, depth),
        *(b.reshape(-1), 2 * 64 + 3, 64, width, c.reshape(-1), 107, c_rows, 0, add),
        *lines_ahead(b),
    )
    part = a[3 : 3 + depth, 9:33].T if exchanged else a[7:31, 5 : 5 + depth]
    expected = np.ones_like(c)
    expected[1:25, 7 : 7 + width] = part @ b[2 : 2 + depth, 3 : 3 + width] + add
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-4)


@needs_compilation
@pytest.mark.parametrize("columns", [16, 32, 48, 64, 112, 176])
def test_panels_cover_all_columns(columns):
    first, widths = 0, []
    while first < columns:
        widths.append(panels.panel_width(first, columns))
        first += widths[-1]
    assert first == columns and set(widths) <= set(WIDTHS)


@jit.jit
def _tour(x, y, out, count):
    a, b = v.load(x, 1), v.load(y, 0)
    v.store(out, 0, a + b)
    v.store(out, 16, a - b)
    v.store(out, 32, a * b)
    v.store(out, 48, v.fma(a, b, v.splat(0.5)))
    v.store(out, 64, v.maximum(a, b))
    v.store(out, 80, v.select_greater(a, b, v.splat(1.0), b))
    v.store(out, 96, v.load_tail(x, 1, count))
    v.store_tail(out, 112, a, count)
    v.prefetch(x, 1 << 40)  # beyond the array: a wish, not an access


@jit.jit
def _bytes_tour(numbers, x, out, copies):
    value = v.load_bytes(numbers, 3)
    v.store(out, 0, value)
    v.store_bytes(copies, 5, value)
    v.store(out, 16, v.select_equal(value, v.load(x, 0), v.splat(1.0), v.splat(0.0)))


@needs_compilation
def test_small_integers_are_floats_in_registers():
    numbers = np.arange(-64, 64, 5, dtype=np.int8)
    x = np.where(np.arange(16) % 3, numbers[3:19], 0.5).astype(np.float32)
    out, copies = np.zeros(32, np.float32), np.full(30, 99, np.int8)
    _bytes_tour(numbers, x, out, copies)
    np.testing.assert_array_equal(out[:16], numbers[3:19])
    np.testing.assert_array_equal(out[16:], np.arange(16) % 3 != 0)
    np.testing.assert_array_equal(copies[5:21], numbers[3:19])
    assert (np.delete(copies, np.s_[5:21]) == 99).all()


@needs_compilation
@pytest.mark.parametrize("count", [0, 1, 9, 15, 16])
def test_vector_operations_are_those_of_numpy(count):
    rng = np.random.default_rng(count)
    x, y = (rng.standard_normal(17).astype(np.float32) for _ in range(2))
    out = np.full(128, 5, np.float32)
    _tour(x, y, out, count)
    a, b = x[1:17], y[:16]
    rows = out.reshape(8, 16)
    for row, expected in zip(rows, (a + b, a - b, a * b), strict=False):
        np.testing.assert_array_equal(row, expected)
    np.testing.assert_allclose(rows[3], a * b + 0.5, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(rows[4], np.maximum(a, b))
    np.testing.assert_array_equal(rows[5], np.where(a > b, 1, b))
    lanes = np.arange(16) < count
    np.testing.assert_array_equal(rows[6], np.where(lanes, a, 0))
    np.testing.assert_array_equal(rows[7], np.where(lanes, a, 5))


@needs_compilation
def test_maximum_passes_a_nan_of_its_second_argument():
    x, y = np.zeros(17, np.float32), np.full(17, np.nan, np.float32)
    out = np.zeros(128, np.float32)
    _tour(x, y, out, 16)
    assert np.isnan(out[64:80]).all()
    _tour(y, x, out, 16)
    assert (out[64:80] == 0).all()


if not jit.ENABLED:

    def test_what_needs_compilation_passes_in_a_process_that_compiles():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
        env = {**os.environ, "NUMBA_DISABLE_JIT": "0"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout
