"""A vector from one of its numbers on."""

import numba
import numpy as np
import pytest

from tinysmooth.kernels import jit
from tinysmooth.kernels.views import behind

needs_compilation = pytest.mark.skipif(not jit.ENABLED, reason="exists in compiled kernels only")


@needs_compilation
@pytest.mark.parametrize("start", [0, 3, 5])
def test_behind_is_a_slice_to_the_end(start):
    @jit.jit
    def changed(array, start, out):
        view = behind(array, start)
        out[0], out[1] = view.size, view.shape[0]
        for i in range(view.size):
            view[i] = 10 + i

    array, out = np.arange(5.0), np.zeros(2)
    changed(array, start, out)
    expected = np.arange(5.0)
    expected[start:] = 10 + np.arange(5 - start)
    np.testing.assert_array_equal(array, expected)
    assert out.tolist() == [5 - start] * 2


@needs_compilation
def test_behind_goes_on_from_a_row_of_a_table():
    @jit.jit
    def marked(table, row, start):
        behind(table[row], start)[1] = 9

    table = np.zeros((3, 4), np.int64)
    marked(table, 1, 2)
    assert table.tolist() == [[0, 0, 0, 0], [0, 0, 0, 9], [0, 0, 0, 0]]


@needs_compilation
@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros(6)[::2]], ids=["table", "gaps"])
def test_behind_is_for_vectors_without_gaps(array):
    @jit.jit
    def left(array):
        return behind(array, 1).size

    with pytest.raises(numba.TypingError):
        left(array)
