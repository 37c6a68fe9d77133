"""Gradients that a rule gives away: a leaf keeps the very array, and nobody else holds it.

And the gradient that a caller hands to ``backward``: read where it lies, it stays the caller's.
"""

import itertools

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import graph, kernels

ONES, ZEROS = np.ones(3, np.float32), np.zeros(3, np.float32)


def images(channels=3):
    return np.random.default_rng(0).standard_normal((2, channels, 8, 8)).astype(np.float32)


def norm(x, training=True):
    running = (None, None) if training else (ZEROS, ONES)
    return ts.batch_norm(x, ONES, ZEROS, *running, training)


# name: kernel whose result is the gradient, function, values of the leaf
GIVEN = {
    "max-pool": ("max_pool2d_backward", lambda x: ts.max_pool2d(x, 2), images()),
    "average": ("avg_pool2d_backward", lambda x: ts.avg_pool2d(x, 2), images()),
    "global average": ("global_avg_pool_backward", ts.global_avg_pool2d, images()),
    "relu": ("relu_backward", ts.relu, images()),
    "relu, axes exchanged": ("relu_backward", ts.relu, images().transpose(2, 0, 3, 1)),
    "relu of a number": ("relu_backward", ts.relu, np.float32(3)),
    "norm": ("batch_norm_backward", norm, images()),
    "norm of features": ("batch_norm_backward", norm, images()[:, :, 0, 0]),
    "norm in evaluation": ("batch_norm_backward", lambda x: norm(x, False), images()),
    "convolution": (
        "conv2d_backward_data",
        lambda x: ts.conv2d(x, np.ones((4, 3, 3, 3), np.float32)),
        images(),
    ),
}


@pytest.fixture(params=["reference", "compiled"])
def kernel_set(request):
    with kernels.use_kernels(request.param):
        yield request.param


@pytest.mark.parametrize("name", GIVEN)
def test_a_leaf_keeps_the_array_that_the_kernel_made(name, kernel_set, monkeypatch):
    kernel, function, values = GIVEN[name]
    made, original = [], getattr(kernels, kernel)

    def keep(*args):
        result = original(*args)
        made.append(result[0] if isinstance(result, tuple) else result)
        return result

    monkeypatch.setattr(kernels, kernel, keep)
    x = ts.Tensor(values, requires_grad=True)
    function(x).sum().backward()
    assert len(made) == 1 and np.shares_memory(x.grad, made[0])
    assert x.grad.flags.writeable


@pytest.mark.parametrize("shape", [(5, 4), (4,), (2, 3, 4)])
def test_a_linear_layer_gives_both_its_gradients_away(shape, monkeypatch):
    given, original = {}, graph.store

    def spy(tensor, grad, own=False):
        given[id(tensor)] = own
        original(tensor, grad, own)

    monkeypatch.setattr(graph, "store", spy)
    x, weight = (ts.Tensor(np.ones(size), requires_grad=True) for size in (shape, (6, 4)))
    ts.linear(x, weight).sum().backward()
    assert given == {id(x): True, id(weight): True}
    x.grad += 1
    assert (weight.data == 1).all() and (x.grad == 7).all()


@pytest.mark.parametrize(
    "layer",
    [
        lambda x, w, b: ts.conv2d(x, w, b),
        lambda x, w, b: ts.ops.conv2d_relu(x, w, b),
        lambda x, w, b: ts.linear(x.reshape((40, 90)), w.reshape((6, 90)), b),
        lambda x, w, b: ts.ops.linear_relu(x.reshape((40, 90)), w.reshape((6, 90)), b),
    ],
)
def test_the_gradients_of_a_layer_with_a_bias_are_its_own(layer, kernel_set):
    shapes = ((40, 10, 3, 3), (6, 10, 3, 3), 6)
    x, w, b = (ts.Tensor(np.ones(shape, np.float32), requires_grad=True) for shape in shapes)
    out = layer(x, w, b)
    seed = np.ones(out.shape, np.float32)
    out.backward(seed)
    arrays = [x.grad, w.grad, b.grad, seed, x.numpy(), w.numpy(), b.numpy(), out.numpy()]
    for one, other in itertools.combinations(arrays, 2):
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize("name", GIVEN)
def test_two_uses_of_a_leaf_add_up(name, kernel_set):
    _, function, values = GIVEN[name]

    def slope(function):
        x = ts.Tensor(values, requires_grad=True)
        function(x).backward()
        return x.grad

    once = slope(lambda x: (function(x) ** 2).sum())
    both = slope(lambda x: (function(x) ** 2).sum() + 3 * x.sum() + (x * x).sum())
    np.testing.assert_allclose(both, once + 3 + 2 * values, rtol=1e-5, atol=1e-5)


def test_what_is_kept_for_a_second_walk_is_not_given_away():
    held = np.ones(3)

    @ts.primitive
    def holding(x):
        return x * 1, {"x": graph.fresh(lambda grad: held)}

    x = ts.Tensor(np.zeros(3), requires_grad=True)
    y = holding(x)
    y.backward(np.ones(3), retain_graph=True)
    assert not np.shares_memory(x.grad, held)
    x.grad += 1
    y.backward(np.ones(3))
    assert held.tolist() == [1, 1, 1] and x.grad.tolist() == [3, 3, 3]


def test_a_global_average_of_single_pixels_gives_an_array_of_its_own(kernel_set):
    x = ts.Tensor(images()[:, :, :1, :1], requires_grad=True)
    ts.global_avg_pool2d(x).sum().backward()
    x.grad += 1
    assert (x.grad == 2).all()


# The gradient that is handed in

CHAINS = [lambda x: x + 1, lambda x: x + x, ts.relu, lambda x: x, lambda x: ts.relu(x) + x]


@pytest.mark.parametrize("function", CHAINS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_gradient_a_caller_hands_in_stays_the_callers(function, wrapped):
    x, grad = ts.Tensor(images(), requires_grad=True), images() ** 2
    kept = grad.copy()
    y = function(x)
    if y is not x:
        y.retain_grad()
    y.backward(ts.Tensor(grad) if wrapped else grad, retain_graph=True)
    y.backward(grad)
    for tensor in (x, y):
        assert not np.shares_memory(tensor.grad, grad)
        tensor.grad += 1
    np.testing.assert_array_equal(grad, kept)


def test_a_gradient_that_may_not_be_written_to_is_accepted():
    x = ts.Tensor(images(), requires_grad=True)
    (ts.relu(x) + x).backward(np.broadcast_to(np.float32(2), x.shape))
    np.testing.assert_array_equal(x.grad, np.where(images() > 0, 4, 2))


def test_a_leafs_own_gradient_may_be_handed_in():
    x = ts.Tensor(images(), requires_grad=True)
    x.sum().backward()
    (x * 3).backward(x.grad)
    assert (x.grad == 4).all()
