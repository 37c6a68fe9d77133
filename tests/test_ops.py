"""Every operation: its gradient in float64, its value against NumPy or PyTorch, its kinks."""

import numpy as np
import pytest
from gradient_cases import CASES, distinct, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import tinysmooth as ts

EVERY_CASE = [
    pytest.param(function, inputs, id=f"{name}-{label}")
    for name, cases in CASES.items()
    for label, function, inputs in cases
]


def test_every_primitive_has_a_gradient_case():
    missing = {
        name for name, p in ts.PRIMITIVES.items() if p.__module__.startswith("tinysmooth.")
    } - set(CASES)
    assert not missing


@pytest.mark.parametrize("kernels", ["compiled", "reference"])
@pytest.mark.parametrize(("function", "inputs"), EVERY_CASE)
def test_gradient_of_every_element_agrees_with_finite_differences(function, inputs, kernels):
    with ts.use_kernels(kernels):
        ts.gradcheck(function, inputs, tolerance=1e-7)


@pytest.mark.parametrize(("function", "inputs"), EVERY_CASE)
def test_gradient_agrees_along_random_directions(function, inputs):
    ts.gradcheck(function, inputs, directions=3, rng=np.random.default_rng(1))


@pytest.mark.parametrize(("function", "inputs"), EVERY_CASE)
def test_float32_stays_float32_forward_and_backward(function, inputs):
    tensors = [ts.Tensor(x.astype(np.float32), requires_grad=True) for x in inputs]
    out = function(*tensors)
    assert out.dtype == np.float32
    out.backward(np.ones(out.shape, np.float32))
    for tensor, x in zip(tensors, inputs, strict=True):
        assert tensor.grad.dtype == np.float32
        assert tensor.grad.shape == x.shape


shapes = st.sampled_from([(), (1,), (3,), (2, 3), (2, 1), (1, 3), (4, 2, 3), (4, 1, 1)])


@settings(deadline=None, max_examples=60)
@given(a=shapes, b=shapes, name=st.sampled_from(["add", "subtract", "multiply", "divide"]))
def test_broadcasting_gradients_have_the_shape_and_the_sum_of_the_copies(a, b, name):
    """Broadcast by hand with an index map: an independent way to the same gradient."""
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            ts.PRIMITIVES[name](ts.Tensor(np.ones(a)), ts.Tensor(np.ones(b)))
        return
    x, y = numbers(*a) + 0.0, numbers(*b, seed=1) + 0.0
    small = [ts.Tensor(v, requires_grad=True) for v in (x, y)]
    large = [ts.Tensor(np.broadcast_to(v, shape).copy(), requires_grad=True) for v in (x, y)]
    seed = numbers(*shape, seed=2) + 0.0
    for pair in (small, large):
        ts.PRIMITIVES[name](*pair).backward(seed)
    for narrow, wide in zip(small, large, strict=True):
        index = np.broadcast_to(np.arange(narrow.size).reshape(narrow.shape), shape)
        by_hand = np.bincount(index.ravel(), wide.grad.ravel(), minlength=narrow.size)
        np.testing.assert_allclose(narrow.grad.ravel(), by_hand, rtol=1e-12, atol=1e-12)


def test_kinks_take_the_value_pytorch_takes():
    def slope(function, at):
        x = ts.Tensor(np.array([at]), requires_grad=True)
        function(x).sum().backward()
        return x.grad[0]

    assert slope(ts.relu, 0.0) == 0.0
    assert slope(ts.abs, 0.0) == 0.0
    assert slope(lambda x: ts.maximum(x, 1.0), 1.0) == 0.5
    x = ts.Tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]


def test_max_pool_sends_the_gradient_of_a_tie_to_the_first():
    x = ts.Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    ts.max_pool2d(x, 2).sum().backward()
    assert x.grad.ravel().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_nan_passes_through_relu_max_and_pooling():
    x = np.array([[np.nan, 1.0], [-1.0, 2.0]])
    assert np.isnan(ts.relu(x).data[0, 0])
    assert np.isnan(ts.max(ts.Tensor(x)).item())
    assert np.isnan(ts.max_pool2d(ts.Tensor(x[None, None]), 2).item())


def test_sigmoid_neither_overflows_nor_loses_its_slope():
    x = ts.Tensor([-800.0, -40.0, 40.0, 800.0], requires_grad=True)
    out = ts.sigmoid(x)
    assert out.data.tolist() == pytest.approx([0.0, np.exp(-40.0), 1.0, 1.0])
    out.sum().backward()
    assert x.grad[2] == pytest.approx(np.exp(-40.0), rel=1e-12)


@pytest.mark.parametrize("kernels", ["reference", "compiled"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (17,), (3, 50, 70), (2, 5, 40, 40), (0, 4)])
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activations_in_every_memory_order(name, shape, dtype, kernels):
    values = 9 * np.random.default_rng(0).standard_normal(shape)
    slopes = {
        "relu": lambda z: (z > 0) * 1.0,
        "sigmoid": lambda z: 1 / (2 + np.exp(-z) + np.exp(z)),
        "tanh": lambda z: 1 / np.cosh(z) ** 2,
    }
    exact = {
        "relu": lambda z: z * (z > 0),
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
    }
    close = {np.float16: 2e-3, np.float32: 1e-6, np.float64: 1e-14}[dtype]
    orders = {
        tuple(range(len(shape))),
        tuple(range(len(shape)))[::-1],
        (0, *range(len(shape))[2:], 1),
    }
    for order in [order for order in orders if len(order) == len(shape)]:
        for step in (1, -1):
            laid = values.astype(dtype).transpose(order)[::step] if shape else values.astype(dtype)
            x = ts.Tensor(laid, requires_grad=True)
            grad = np.linspace(-1, 2, laid.size).reshape(laid.shape).astype(dtype)
            with ts.use_kernels(kernels):
                out = getattr(ts, name)(x)
                out.backward(grad)
            z = laid.astype(np.float64)
            assert out.dtype == x.grad.dtype == dtype and out.shape == laid.shape
            np.testing.assert_allclose(out.numpy(), exact[name](z), rtol=close, atol=close)
            np.testing.assert_allclose(x.grad, slopes[name](z) * grad, rtol=close, atol=close)
            assert np.array_equal(x.numpy(), laid)


@pytest.mark.parametrize("kernels", ["reference", "compiled"])
def test_the_float32_sigmoid_far_out_and_of_what_is_no_number(kernels):
    far = np.array([-np.inf, -200, -100, -88, -40, -1e-8, 0, 40, 88, 200, np.inf], np.float32)
    with ts.use_kernels(kernels):
        x = ts.Tensor(np.append(far, np.float32("nan")), requires_grad=True)
        out = ts.sigmoid(x)
        out.backward(np.ones(12, np.float32))
    z = far.astype(np.float64)
    with np.errstate(over="ignore"):
        exact, slope = 1 / (1 + np.exp(-z)), 1 / (2 + np.exp(-z) + np.exp(z))
    np.testing.assert_allclose(out.numpy()[:11], exact, rtol=4e-7, atol=1e-44)
    np.testing.assert_allclose(x.grad[:11], slope, rtol=6e-7, atol=1e-44)
    assert np.isnan(out.numpy()[11]) and np.isnan(x.grad[11])


def test_where_keeps_an_infinite_branch_out_of_the_gradient():
    x = ts.Tensor([np.inf, 4.0], requires_grad=True)
    ts.where(np.array([False, True]), x, 0.0).backward([np.inf, 3.0])
    assert x.grad.tolist() == [0.0, 3.0]


def test_dropout_keeps_the_mean_and_drops_the_share():
    x = ts.Tensor(np.ones(200_000, np.float32))
    out = ts.dropout(x, 0.3, True, np.random.default_rng(0)).data
    assert set(np.unique(out).tolist()) == {0.0, np.float32(1 / 0.7).item()}
    assert (out == 0).mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / out.size))
    assert ts.dropout(x, 1.0, True).data.max() == 0.0


def test_images_keep_channels_last_memory_from_layer_to_layer():
    x = ts.Tensor(np.zeros((2, 6, 6, 3), np.float32).transpose(0, 3, 1, 2))
    y = ts.relu(ts.conv2d(x, np.ones((4, 3, 3, 3), np.float32), padding=1))
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous


# Against PyTorch, where it is installed


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_convolution_and_pooling_equal_pytorch(data):
    torch = pytest.importorskip("torch")
    draw = data.draw
    n, c, k = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    r, s = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    if r > h + 2 * padding[0] or s > w + 2 * padding[1]:
        return
    arrays = [numbers(n, c, h, w), numbers(k, c, r, s), numbers(k)]
    ours = [ts.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = ts.conv2d(*ours, stride=stride, padding=padding)
    expected = torch.conv2d(*theirs, stride=stride, padding=padding)
    compare(out, expected, ours, theirs)
    if padding[0] <= r // 2 and padding[1] <= s // 2:
        for pool, reference in (
            (ts.max_pool2d, torch.nn.functional.max_pool2d),
            (ts.avg_pool2d, torch.nn.functional.avg_pool2d),
        ):
            x, y = distinct(n, c, h, w), torch.tensor(distinct(n, c, h, w), requires_grad=True)
            x = ts.Tensor(x, requires_grad=True)
            compare(
                pool(x, (r, s), stride, padding), reference(y, (r, s), stride, padding), [x], [y]
            )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (8, 3), (1, 3, 2, 2)])
def test_batch_norm_equals_pytorch_with_its_running_statistics(shape, training):
    torch = pytest.importorskip("torch")
    arrays = [numbers(*shape), numbers(3, seed=1), numbers(3, seed=2)]
    mean, var = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    running = [torch.tensor(mean), torch.tensor(var)]
    ours = [ts.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = ts.batch_norm(*ours, mean, var, training, momentum=0.3, eps=1e-3)
    expected = torch.nn.functional.batch_norm(
        theirs[0], *running, theirs[1], theirs[2], training, 0.3, 1e-3
    )
    np.testing.assert_allclose(mean, running[0].numpy(), rtol=1e-12)
    np.testing.assert_allclose(var, running[1].numpy(), rtol=1e-12)
    compare(out, expected, ours, theirs)


def compare(out, expected, ours, theirs):
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    seed = np.cos(np.arange(out.size)).reshape(out.shape)
    out.backward(seed)
    expected.backward(_like(expected, seed))
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.grad, two.grad.numpy(), rtol=1e-10, atol=1e-12)


def _like(tensor, array):
    import torch

    return torch.tensor(array, dtype=tensor.dtype)


def test_the_gradient_of_a_bias_does_not_lose_digits_over_many_rows():
    bias = ts.Tensor(np.zeros(2, np.float32), requires_grad=True)
    out = ts.linear(np.zeros((2**18, 1), np.float32), np.zeros((2, 1), np.float32), bias)
    out.backward(np.full(out.shape, 0.1, np.float32))
    np.testing.assert_allclose(bias.grad, np.float32(0.1) * 2.0**18, rtol=1e-6)


@pytest.mark.parametrize(("rows", "features", "inside"), [(2, 3, 0), (0, 3, 2), (2, 0, 3)])
def test_a_linear_map_of_nothing_is_zero(rows, features, inside):
    x = ts.Tensor(np.ones((rows, inside)), requires_grad=True)
    weight = ts.Tensor(np.ones((features, inside)), requires_grad=True)
    bias = ts.Tensor(np.ones(features), requires_grad=True)
    out = ts.linear(x, weight, bias)
    out.backward(np.ones((rows, features)))
    assert np.array_equal(out.numpy(), np.full((rows, features), 1.0 + inside))
    assert np.array_equal(x.grad, np.full((rows, inside), float(features)))
    assert np.array_equal(weight.grad, np.full((features, inside), float(rows)))
    assert np.array_equal(bias.grad, np.full(features, float(rows)))


def test_a_number_has_no_sides_to_pad():
    x = ts.Tensor(3.0, requires_grad=True)
    out = ts.pad(x, 1)
    out.backward()
    assert out.shape == () and out.item() == 3.0 and x.grad == 1.0


@pytest.mark.parametrize(
    ("operation", "kept"), [(ts.maximum, [0.0, 1.0]), (ts.minimum, [1.0, 0.0])]
)
def test_the_side_that_lost_gets_exactly_nothing_even_of_an_infinite_gradient(operation, kept):
    x = ts.Tensor([-1.0, 4.0], requires_grad=True)
    operation(x, 0.0).backward([np.inf, np.inf])
    expected = [np.inf if keeps else 0.0 for keeps in kept]
    assert x.grad.tolist() == expected


@pytest.mark.parametrize("operation", [ts.maximum, ts.minimum])
def test_beside_nan_both_sides_get_the_gradient(operation):
    a = ts.Tensor([np.nan, 1.0], requires_grad=True)
    b = ts.Tensor([2.0, np.nan], requires_grad=True)
    operation(a, b).backward([3.0, 5.0])
    assert a.grad.tolist() == b.grad.tolist() == [3.0, 5.0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int32, bool])
def test_sigmoid_of_integers_is_that_of_their_values(dtype):
    values = np.array([0, 1, 1], dtype)
    assert np.array_equal(ts.sigmoid(values).numpy(), ts.sigmoid(values.astype(float)).numpy())


def test_a_condition_that_could_learn_gets_a_gradient_of_zero():
    c = ts.Tensor([1.0, 0.0], requires_grad=True)
    ts.where(c, c * 2, 7.0).sum().backward()
    assert c.grad.tolist() == [2.0, 0.0]


def test_the_slope_in_the_exponent_at_zero():
    base, exponent = np.zeros(3), ts.Tensor([0.0, 0.5, 2.0], requires_grad=True)
    (base**exponent).sum().backward()
    assert exponent.grad.tolist() == [0.0, 0.0, 0.0]
