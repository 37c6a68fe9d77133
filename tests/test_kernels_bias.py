"""The bias: added in place, and its gradient; both sets, any number of channels."""

import numpy as np
import pytest

from tinysmooth import kernels
from tinysmooth.kernels import bias as compiled_bias
from tinysmooth.kernels import jit, thread_count

SHAPES = [
    (64, 28, 28, 6),
    (9000, 1),
    (700, 64),
    (501, 120),
    (5, 31, 17, 33),
    (1000, 333),
    (20, 1001),
    (3, 2),
    (0, 4),
]


@pytest.fixture(params=["reference", "compiled"], autouse=True)
def kernel_set(request):
    with kernels.use_kernels(request.param):
        yield request.param


def numbers(shape, dtype=np.float32, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) + 0.3).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_added_to_every_pixel(shape, threads, dtype):
    out, bias = numbers(shape, dtype), numbers(shape[-1], dtype, seed=1)
    expected = out + bias
    with thread_count.use_threads(threads):
        kernels.add_bias(out, bias)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_its_gradient_is_the_sum_over_all_pixels(shape, threads, dtype):
    grad = numbers(shape, dtype)
    with thread_count.use_threads(threads):
        found = kernels.bias_gradient(grad)
    rows = grad.reshape(-1, shape[-1]).astype(np.float64)
    assert found.dtype == dtype and found.shape == shape[-1:]
    assert (np.abs(found - rows.sum(axis=0)) <= 2e-6 * np.abs(rows).sum(axis=0)).all()


@pytest.mark.parametrize("value", [0.1, 0.29, 0.58])
def test_no_digits_are_lost_over_many_pixels(value):
    found = kernels.bias_gradient(np.full((2**19, 3), value, np.float32))
    np.testing.assert_allclose(found, np.float32(value) * 2.0**19, rtol=2e-6)


def test_what_is_not_a_number_stays_in_its_channel():
    grad = numbers((700, 33))
    grad[401, 5], grad[699, 7] = np.nan, np.inf
    found = kernels.bias_gradient(grad)
    assert np.isnan(found[5]) and np.isinf(found[7])
    assert np.isfinite(np.delete(found, [5, 7])).all()


def test_a_gradient_in_another_order_of_memory_is_summed_alike():
    grad = numbers((700, 33))
    turned = np.ascontiguousarray(grad.T).T
    np.testing.assert_array_equal(kernels.bias_gradient(turned), kernels.bias_gradient(grad))


def test_it_is_added_to_what_lies_in_another_order():
    turned, bias = numbers((33, 900)).T, numbers(33, seed=1)
    expected = turned + bias
    kernels.add_bias(turned, bias)
    np.testing.assert_array_equal(turned, expected)


@pytest.mark.skipif(not jit.ENABLED, reason="nothing is compiled")
@pytest.mark.parametrize("kernel_set", ["compiled"], indirect=True)
def test_large_arrays_are_not_left_to_numpy(kernel_set, monkeypatch):
    monkeypatch.setattr(compiled_bias, "reference", None)
    out = numbers((64, 28, 28, 6))
    kernels.add_bias(out, out[0, 0, 0].copy())
    kernels.bias_gradient(out)
