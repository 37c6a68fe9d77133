"""Gradients that a rule gives away: a leaf keeps the very array, and nobody else holds it."""

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import kernels


def images(channels=3):
    return np.random.default_rng(0).standard_normal((2, channels, 8, 8)).astype(np.float32)


def norm(x):
    return ts.batch_norm(x, np.ones(3, np.float32), np.zeros(3, np.float32), None, None, True)


GIVEN = {
    "max_pool2d_backward": lambda x: ts.max_pool2d(x, 2),
    "avg_pool2d_backward": lambda x: ts.avg_pool2d(x, 2),
    "global_avg_pool_backward": ts.global_avg_pool2d,
    "relu_backward": ts.relu,
    "batch_norm_backward": norm,
    "conv2d_backward_data": lambda x: ts.conv2d(x, np.ones((4, 3, 3, 3), np.float32)),
}


@pytest.mark.parametrize("kernel", GIVEN)
@pytest.mark.parametrize("kernel_set", ["reference", "compiled"])
def test_a_leaf_keeps_the_array_that_the_kernel_made(kernel, kernel_set, monkeypatch):
    made = []
    original = getattr(kernels, kernel)

    def keep(*args):
        result = original(*args)
        made.append(result[0] if isinstance(result, tuple) else result)
        return result

    monkeypatch.setattr(kernels, kernel, keep)
    with kernels.use_kernels(kernel_set):
        x = ts.Tensor(images(), requires_grad=True)
        GIVEN[kernel](x).sum().backward()
        assert len(made) == 1 and np.shares_memory(x.grad, made[0])
        assert x.grad.flags.writeable


@pytest.mark.parametrize("kernel", GIVEN)
@pytest.mark.parametrize("kernel_set", ["reference", "compiled"])
def test_two_walks_and_two_uses_add_up(kernel, kernel_set):
    def slope(function, *, walks=1):
        x = ts.Tensor(images(), requires_grad=True)
        out = function(x)
        for walk in range(walks):
            out.backward(retain_graph=walk + 1 < walks)
        return x.grad

    with kernels.use_kernels(kernel_set):
        once = slope(lambda x: (GIVEN[kernel](x) ** 2).sum())
        twice = slope(lambda x: (GIVEN[kernel](x) ** 2).sum(), walks=2)
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-5, atol=1e-6)
        both = slope(lambda x: (GIVEN[kernel](x) ** 2).sum() + 3 * x.sum() + (x * x).sum())
        np.testing.assert_allclose(both, once + 3 + 2 * images(), rtol=1e-5, atol=1e-5)


def test_a_global_average_of_single_pixels_gives_an_array_of_its_own():
    with kernels.use_kernels("reference"):
        x = ts.Tensor(images()[:, :, :1, :1], requires_grad=True)
        ts.global_avg_pool2d(x).sum().backward()
        x.grad += 1
        assert (x.grad == 2).all()


@pytest.mark.parametrize("function", [lambda x: x + 1, lambda x: x + x, ts.relu, lambda x: x])
def test_the_gradient_a_caller_hands_in_stays_his(function):
    x, grad = ts.Tensor(images(), requires_grad=True), images() ** 2
    kept = grad.copy()
    function(x).backward(grad)
    assert not np.shares_memory(x.grad, grad)
    x.grad += 1
    np.testing.assert_array_equal(grad, kept)
