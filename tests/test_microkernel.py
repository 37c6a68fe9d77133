"""The generated tiles and the vector type against NumPy."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tinysmooth.kernels import jit, microkernel
from tinysmooth.kernels import vectors as v


def needs_compilation(test):
    """Leave a test out where nothing can be compiled; the last test of the file runs it then."""
    return test if jit.ENABLED else None


WIDTHS = [64, 32, 16] if microkernel.PANEL == 64 else [16]


def arrays(rows, depth, width, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(np.float32) for s in ((rows, depth), (depth, width))]


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("depth", [4, 8, 52])
def test_a_panel_product_is_the_matrix_product(width, depth):
    a, b = arrays(microkernel.ROWS_STEP, depth, width)
    c = np.full((a.shape[0] + 1, width), 7, np.float32)
    flat = (a.reshape(-1), 0, depth, b.reshape(-1), 0, width, c.reshape(-1), 0, width)
    microkernel.panel_product(*flat, a.shape[0], depth)
    np.testing.assert_allclose(c[:-1], a @ b, rtol=0, atol=1e-5 * depth)
    assert (c[-1] == 7).all(), "wrote beyond its rows"


@needs_compilation
def test_offsets_and_strides_pick_parts_of_larger_matrices():
    a, b = arrays(30, 40, 64)
    width = WIDTHS[-1]
    panel = np.ascontiguousarray(b[:8, :width])
    c = np.zeros((30, 100), np.float32)
    flat = (a.reshape(-1), 3 * 40 + 5, 40, panel.reshape(-1), 0, width, c.reshape(-1), 107, 100)
    microkernel.panel_product(*flat, 24, 8)
    expected = np.zeros_like(c)
    expected[1:25, 7 : 7 + width] = a[3:27, 5:13] @ panel
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-4)


@needs_compilation
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [4, 8, 12, 16, 20, 28, 64])
@pytest.mark.parametrize("add", [0, 1])
def test_a_transposed_panel_product_writes_or_adds(width, rows, add):
    a, _ = arrays(12, rows, width)
    _, b = arrays(rows, 12, width)
    c = np.full((rows + 1, width), 7, np.float32)
    flat = (a.reshape(-1), 0, rows, b.reshape(-1), 0, width, c.reshape(-1), 0, width)
    microkernel.panel_add_transposed(*flat, rows, 12, add)
    expected = a.T @ b + 7 * add
    np.testing.assert_allclose(c[:-1], expected, rtol=0, atol=1e-4)
    assert (c[-1] == 7).all(), "wrote beyond its rows"


@needs_compilation
@pytest.mark.parametrize("columns", [16, 32, 48, 64, 112, 176])
def test_panels_cover_all_columns(columns):
    first, widths = 0, []
    while first < columns:
        widths.append(microkernel.panel_width(first, columns))
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
