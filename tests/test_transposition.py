"""Blocks transposed in registers against NumPy: every row and column, and nothing beyond."""

import numpy as np
import pytest

from tinysmooth.kernels import jit
from tinysmooth.kernels.transposition import transpose

CASES = [(16, 16, 16), (16, 9, 16), (5, 9, 16), (5, 40, 5), (1, 16, 1), (16, 1, 16), (16, 49, 16)]


@pytest.mark.skipif(not jit.ENABLED, reason="vectors exist in compiled kernels only")
@pytest.mark.parametrize("rows, columns, lanes", CASES)
def test_a_block_is_transposed_and_nothing_else_is_written(rows, columns, lanes):
    a = np.random.default_rng(0).standard_normal((rows, 60)).astype(np.float32)
    out = np.full((columns + 1, 20), 7, np.float32)
    transpose(a.reshape(-1), 3, 60, rows, columns, out.reshape(-1), 2, 20, lanes)
    expected = np.full_like(out, 7)
    expected[:columns, 2 : 2 + lanes] = 0
    expected[:columns, 2 : 2 + rows] = a[:, 3 : 3 + columns].T
    np.testing.assert_array_equal(out, expected)


@pytest.mark.skipif(not jit.ENABLED, reason="vectors exist in compiled kernels only")
@pytest.mark.parametrize("rows", [1, 9, 16])
def test_a_column_of_neighbours_is_copied_and_filled_up_with_zeros(rows):
    a, out = np.arange(1, 21, dtype=np.float32), np.full(18, 7, np.float32)
    transpose(a, 2, 1, rows, 1, out, 1, 0, 16)
    assert out.tolist() == [7, *a[2 : 2 + rows], *[0] * (16 - rows), 7]
