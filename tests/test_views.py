"""A vector from one of its numbers on."""

import numpy as np
import pytest

from tinysmooth.kernels import jit
from tinysmooth.kernels.views import behind


@pytest.mark.skipif(not jit.ENABLED, reason="views like this exist in compiled kernels only")
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
