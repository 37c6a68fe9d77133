"""Layers, containers, models: names, shapes, modes, state; fused equals composed."""

import itertools
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from gradient_cases import numbers

import tinysmooth as ts
from tinysmooth import nn, ops
from tinysmooth.bench.steps import torch_twin
from tinysmooth.kernels.jit import ENABLED


def rng(seed=0):
    return np.random.default_rng(seed)


def images(*shape, dtype=np.float32, seed=0):
    return numbers(*shape, seed=seed).astype(dtype)


def run(model, x, seed=1):
    """Forward and backward; return the value and every gradient, the input's first."""
    x = ts.Tensor(x, requires_grad=True)
    model.zero_grad()
    out = model(x)
    out.backward(numbers(*out.shape, seed=seed).astype(out.dtype))
    return out.data.copy(), [x.grad] + [p.grad for p in model.parameters()]


class Plain(nn.Module):
    """Runs the modules of a Sequential one by one: nothing is fused."""

    def __init__(self, sequential, residual=False):
        super().__init__()
        self.inner, self.residual = sequential, residual

    def forward(self, x):
        out = x
        for module in self.inner:
            out = module(out)
        return x + out if self.residual else out


def conv_block(channels, pool):
    conv = nn.Conv2d(3, channels, 3, padding=1, bias=False, rng=rng())
    layers = [conv, nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


@pytest.mark.parametrize("kernels", ["compiled", "reference"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("size", [(6, 6), (7, 5), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fused_block_equals_its_composition(kernels, training, pool, size, dtype):
    with ts.use_kernels(kernels):
        results = []
        for make in (lambda m: m, Plain):
            block = conv_block(5, pool).astype(dtype)
            results.append(run(make(block).train(training), images(3, 3, *size, dtype=dtype)))
            results[-1][1].append(block[1].running_var)
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    (fused, fused_grads), (plain, plain_grads) = results
    np.testing.assert_allclose(fused, plain, rtol=tolerance, atol=tolerance)
    for one, two in zip(fused_grads, plain_grads, strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * np.abs(two).max())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize(("filters", "size"), [(20, 9), (64, 24)])
def test_a_convolution_that_takes_the_statistics_equals_its_composition(
    training, pool, filters, size
):
    results = []
    for make in (lambda m: m, Plain):
        conv = nn.Conv2d(16, filters, 3, padding=1, bias=False, rng=rng())
        last = [nn.MaxPool2d(2)] if pool else []
        block = nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU(), *last)
        results.append(run(make(block).train(training), images(8, 16, size, size)))
        results[-1][1].append(block[1].running_var)
        results[-1][1].append(block[1].running_mean)
    (fused, fused_grads), (plain, plain_grads) = results
    np.testing.assert_allclose(fused, plain, rtol=1e-5, atol=1e-5)
    for one, two in zip(fused_grads, plain_grads, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * np.abs(two).max())


@pytest.mark.parametrize("kernels", ["reference", "compiled"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("first", [True, False], ids=["first layer", "later layer"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bias_of_a_convolution_before_a_batch_norm_equals_its_composition(
    kernels, training, pool, first, dtype
):
    bias, results = np.linspace(-3, 2, 20), []
    pixels = images(4, 16, 10, 10, dtype=dtype)
    for make in (lambda m: m, Plain):
        conv, norm = nn.Conv2d(16, 20, 3, rng=rng()), nn.BatchNorm2d(20)
        block = nn.Sequential(conv, norm, nn.ReLU(), *([nn.MaxPool2d(2)] if pool else []))
        block.astype(dtype)
        conv.bias.data[...], norm.running_mean[...] = bias, bias / 2
        norm.weight.data[...] = np.linspace(-1, 2, 20)
        with ts.use_kernels(kernels):
            x = ts.Tensor(pixels, requires_grad=not first)
            out = make(block).train(training)(x)
            out.backward(numbers(*out.shape, seed=1).astype(dtype))
        slopes = {name: p.grad for name, p in block.named_parameters()}
        others = [out.numpy(), norm.running_mean, norm.running_var, norm.num_batches_tracked]
        results.append(
            (slopes.pop("0.bias"), [*slopes.values(), *others, *([] if first else [x.grad])])
        )
    (fused_bias, fused), (plain_bias, plain) = results
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    if training:  # nothing depends on it, and the composition finds rounding errors
        assert (fused_bias == 0).all() and np.abs(plain_bias).max() < tolerance
    else:
        np.testing.assert_allclose(fused_bias, plain_bias, rtol=tolerance)
    for one, two in zip(fused, plain, strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * np.abs(two).max())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bias_that_is_no_number_is_seen_behind_a_batch_norm(value, training):
    results = []
    for make in (lambda m: m, Plain):
        block = nn.Sequential(nn.Conv2d(3, 2, 1, rng=rng()), nn.BatchNorm2d(2)).train(training)
        block[0].bias.data[1] = value
        with np.errstate(invalid="ignore"):
            out = make(block)(images(2, 3, 4, 4)).numpy()
        results.append((out, block[1].running_mean, block[1].running_var))
    for fused, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-5, atol=1e-6)
    assert not np.isfinite(results[0][0][:, 1]).any()


def test_a_gradient_that_is_no_number_reaches_the_bias_before_a_batch_norm():
    block = nn.Sequential(nn.Conv2d(3, 2, 1, rng=rng()), nn.BatchNorm2d(2))
    out = block(images(2, 3, 4, 4))
    slope = np.ones(out.shape, np.float32)
    slope[0, 1, 0, 0] = np.nan
    out.backward(slope)
    assert block[0].bias.grad[0] == 0 and np.isnan(block[0].bias.grad[1])


@pytest.mark.parametrize("kernels", ["reference", "compiled"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize(("channels", "filters", "size"), [(3, 6, 11), (16, 64, 8), (1, 33, 12)])
def test_a_convolution_that_relu_follows_equals_its_composition(
    channels, filters, size, pool, bias, dtype, kernels
):
    with ts.use_kernels(kernels):
        results = []
        for make in (lambda m: m, Plain):
            conv = nn.Conv2d(channels, filters, 3, padding=1, bias=bias, rng=rng())
            if bias:
                conv.bias.data[...] = np.linspace(-1, 1, filters)
            last = [nn.MaxPool2d(2)] if pool else []
            block = nn.Sequential(conv, nn.ReLU(), *last).astype(dtype)
            results.append(run(make(block), images(5, channels, size, size, dtype=dtype)))
    (fused, fused_grads), (plain, plain_grads) = results
    np.testing.assert_array_equal(fused, plain)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for one, two in zip(fused_grads, plain_grads, strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * np.abs(two).max())


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (lambda: [nn.ReLU(), nn.MaxPool2d(2)], ["conv2d_relu"]),
        (lambda: [nn.ReLU(), nn.MaxPool2d(3)], ["conv2d_relu", "max_pool2d"]),
        (lambda: [nn.ReLU(), nn.MaxPool2d(2, padding=1)], ["conv2d_relu", "max_pool2d"]),
        (lambda: [nn.MaxPool2d(2), nn.ReLU()], ["conv2d", "max_pool2d", "relu"]),
        (lambda: [nn.BatchNorm2d(4), nn.ReLU()], ["conv2d_block"]),
        (
            lambda: [nn.MaxPool2d(2), nn.BatchNorm2d(4)],
            ["conv2d", "max_pool2d", "batch_norm_block"],
        ),
        (lambda: [type("Leaky", (nn.ReLU,), {})()], ["conv2d", "relu"]),
        (lambda: [], ["conv2d"]),
    ],
)
def test_what_follows_a_convolution_with_a_bias_runs_with_it_where_it_can(layers, expected):
    out = nn.Sequential(nn.Conv2d(3, 4, 3), *layers())(images(2, 3, 9, 9))
    assert graph_names(out) == expected


def graph_names(tensor):
    """Names of the recorded operations from the first to the last, of one input each."""
    names, node = [], tensor._node
    while node is not None:
        names.append(node.name)
        node = node.parents[0]._node
    return names[::-1]


@pytest.mark.parametrize("kernels", ["reference", "compiled"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 9), (200, 300), (3, 50, 300), (2, 3000), (300,)])
def test_a_linear_layer_that_relu_follows_equals_its_composition(shape, bias, dtype, kernels):
    x = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    results = []
    with ts.use_kernels(kernels):
        for make in (lambda m: m, Plain):
            layer = nn.Linear(shape[-1], 70, bias=bias, rng=rng())
            if bias:
                layer.bias.data[...] = np.linspace(-1, 1, 70)
            results.append(run(make(nn.Sequential(layer, nn.ReLU()).astype(dtype)), x))
    (fused, fused_grads), (plain, plain_grads) = results
    np.testing.assert_array_equal(fused, plain)
    for one, two in zip(fused_grads, plain_grads, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (lambda: [nn.ReLU(), nn.Linear(4, 2), nn.ReLU()], ["linear_relu", "linear_relu"]),
        (lambda: [nn.Linear(4, 2), nn.ReLU()], ["linear", "linear_relu"]),
        (lambda: [type("Leaky", (nn.ReLU,), {})()], ["linear", "relu"]),
        (lambda: [], ["linear"]),
    ],
)
def test_what_follows_a_linear_layer_runs_with_it_where_it_can(layers, expected):
    x = np.ones((2, 3), np.float32)
    block = nn.Sequential(nn.Linear(3, 4), *layers())
    assert graph_names(block(x)) == expected
    block[0].bias = ts.Tensor(np.zeros(4), requires_grad=True)  # float64: nothing is rounded
    assert graph_names(block(x))[0] == "linear"
    seen = []
    block[0].forward = lambda x: seen.append(x) or nn.Linear.forward(block[0], x)
    block(x)
    assert len(seen) == 1


def test_a_linear_layer_stays_alone_where_its_relu_is_another_or_dtypes_differ():
    x = np.ones((2, 3), np.float32)
    assert graph_names(nn.Sequential(nn.Linear(3, 4), nn.ReLU())(x.astype(float)))[0] == "linear"
    assert (
        graph_names(nn.Sequential(type("L", (nn.Linear,), {})(3, 4), nn.ReLU())(x))[0] == "linear"
    )
    block = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    block[1].forward = lambda x: x * 2
    assert graph_names(block(x)) == ["linear", "multiply"]
    half = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    for name in ("weight", "bias"):
        tensor = ts.Tensor(getattr(half[0], name).numpy().astype(np.float16), requires_grad=True)
        setattr(half[0], name, tensor)
    half(x.astype(np.float16)).sum().backward()
    assert half[0].weight.grad.dtype == np.float16
    with pytest.raises(TypeError, match="linear_relu: x has dtype float16"):
        ops.linear_relu(x.astype(np.float16), half[0].weight)
    residual = nn.Residual(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    plain = residual.module[1](residual.module[0](x)).numpy()
    np.testing.assert_array_equal(residual(x).numpy(), x + plain)


def test_a_graph_that_is_kept_gives_each_gradient_its_own_mask():
    x, w = ts.Tensor(np.ones((2, 3)), requires_grad=True), ts.Tensor(np.ones((4, 3)), True)
    out = ops.linear_relu(x, w, np.zeros(4))
    for scale in (1.0, 2.0):
        x.zero_grad()
        w.zero_grad()
        out.backward(np.full((2, 4), scale), retain_graph=True)
        assert (x.grad == 4 * scale).all() and (w.grad == 2 * scale).all()


def test_the_result_that_a_relu_keeps_cannot_be_changed():
    x = ts.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    for out in (ops.linear_relu(x, np.ones((4, 3), np.float32)), ts.relu(x), ts.relu(x.T)):
        with pytest.raises(ValueError, match="read-only"):
            out.data[...] = -1
        out.sum().backward()
        out.data[...] = -1
    x.data[...] = 2  # nobody needs it any more


@pytest.mark.parametrize("kernels", ["reference", "compiled"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_has_the_gradient_of_the_composition(value, kernels):
    numbers = np.random.default_rng(3).standard_normal((40, 200)).astype(np.float32)
    weight = np.random.default_rng(4).standard_normal((70, 200)).astype(np.float32)
    numbers[3, 5], weight[:, 5] = value, [-1, 1] * 35
    results = []
    for function in (ops.linear_relu, lambda *a: ts.relu(ts.linear(*a))):
        x = ts.Tensor(numbers, requires_grad=True)
        bias = ts.Tensor(np.zeros(70, np.float32), requires_grad=True)
        with ts.use_kernels(kernels):
            out = function(x, weight, bias)
            out.sum().backward()
        results.append((out.numpy(), x.grad, bias.grad))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(not ENABLED, reason="nothing is compiled")
@pytest.mark.parametrize("pool", [True, False])
def test_the_rules_of_a_convolution_with_relu_share_one_sweep(pool, kernels_run):
    conv = nn.Conv2d(16, 32, 3, rng=rng())
    x = ts.Tensor(images(4, 16, 10, 10), requires_grad=True)
    conv.rectified(x, pool=pool).sum().backward()
    assert kernels_run.count("_dx_parts") == 1


@pytest.mark.parametrize("pool", [True, False])
def test_a_later_change_of_a_bias_does_not_change_a_gradient(pool):
    x = ts.Tensor(np.full((1, 1, 2, 2), -1, np.float32), requires_grad=True)
    plain, bias = np.zeros(1, np.float32), ts.Tensor(np.zeros(1, np.float32), requires_grad=True)
    for shift, change in ((plain, plain), (bias, bias.data)):
        out = ops.conv2d_relu(x, np.ones((1, 1, 1, 1), np.float32), shift, pool)
        change[...] = 10  # as an optimiser does that learns the bias only
        out.sum().backward()
        assert (x.grad == 0).all()


def test_a_bias_of_another_dtype_is_not_rounded_before_it_is_added():
    block = nn.Sequential(nn.Conv2d(1, 2, 1, rng=rng()), nn.ReLU())
    block[0].bias = ts.Tensor(np.full(2, 0.1), requires_grad=True)
    x = images(2, 1, 3, 3)
    np.testing.assert_array_equal(block(x).data, Plain(block)(x).data)
    with pytest.raises(TypeError, match="bias has dtype float64; expected float32"):
        ops.conv2d_relu(x, block[0].weight, block[0].bias)


@pytest.mark.parametrize("kernels", ["reference", "compiled"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("pool", [True, False])
def test_a_pixel_that_is_not_finite_has_the_gradient_of_the_composition(pool, value, kernels):
    numbers, weight = images(2, 3, 6, 6), np.zeros((5, 3, 1, 1), np.float32)
    numbers[0, 0, 1, 1], weight[:, 0] = value, 1
    results = []
    for fused in (True, False):
        x = ts.Tensor(numbers, requires_grad=True)
        bias = ts.Tensor(np.zeros(5, np.float32), requires_grad=True)
        with ts.use_kernels(kernels, winograd=False):
            if fused:
                out = ops.conv2d_relu(x, weight, bias, pool)
            else:
                out = ts.relu(ts.conv2d(x, weight, bias))
                out = ts.max_pool2d(out, 2) if pool else out
            out.sum().backward()
        results.append((out.numpy(), x.grad, bias.grad))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("place", range(4))
def test_a_forward_that_somebody_put_in_place_is_run(place):
    """To look at what passes, for example; what is fused would never call it."""
    block = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False, rng=rng()), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
    )
    expected, seen = block(images(2, 3, 6, 6)).data, []
    original = block[place].forward
    block[place].forward = lambda x: seen.append(x.shape) or original(x)
    out = block(images(2, 3, 6, 6)).data
    assert len(seen) == 1
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_plain_lists_go_through_a_sequential_too():
    numbers_of_two = [[1.0, 2.0], [3.0, 6.0]]
    out = nn.Sequential(nn.BatchNorm2d(2)).astype(np.float64)(numbers_of_two)
    np.testing.assert_allclose(out.data, [[-1, -1], [1, 1]], atol=1e-4)


def test_the_bias_of_a_convolution_before_a_batch_norm_counts():
    block = nn.Sequential(nn.Conv2d(3, 5, 3, rng=rng()), nn.BatchNorm2d(5), nn.ReLU()).eval()
    block[0].bias.data[...] = np.arange(5)
    x = images(2, 3, 6, 6)
    np.testing.assert_allclose(block(x).data, Plain(block)(x).data, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("wanted", list(itertools.product([True, False], repeat=2)))
def test_a_fused_convolution_sends_gradients_as_often_as_asked(wanted):
    """Its rules share one sweep, whichever of them are asked, in each of several walks back."""
    x = ts.Tensor(np.random.default_rng(1).standard_normal((2, 4, 6, 6)), requires_grad=wanted[0])
    w = ts.Tensor(np.random.default_rng(2).standard_normal((5, 4, 3, 3)), requires_grad=wanted[1])
    scale = ts.Tensor(np.full(5, 0.7), requires_grad=True)
    shift = ts.Tensor(np.zeros(5))

    def gradients(block):
        out = block()
        for seed in (1, 2, 3):
            grad = np.random.default_rng(seed).standard_normal(out.shape)
            out.backward(grad, retain_graph=seed < 3)
        found = [tensor.grad for tensor in (x, w, scale) if tensor.requires_grad]
        for tensor in (x, w, scale):
            tensor.zero_grad()
        return found

    fused = gradients(lambda: ops.conv2d_block(x, w, scale, shift, None, None, True, padding=1))
    plain = gradients(
        lambda: ops.batch_norm_block(ts.conv2d(x, w, padding=1), scale, shift, None, None, True)
    )
    for one, two in zip(fused, plain, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("zero_init", [True, False])
def test_fused_residual_equals_its_composition(zero_init):
    def branch():
        source = rng()
        return nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1, bias=False, rng=source),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.Conv2d(3, 3, 3, padding=1, bias=False, rng=source),
            nn.BatchNorm2d(3),
            nn.ReLU(),
        )

    x = images(2, 3, 5, 6, dtype=np.float64)
    fused = nn.Residual(branch(), zero_init=zero_init).astype(np.float64)
    plain = Plain(branch(), residual=True).astype(np.float64)
    plain.load_state_dict({f"inner.{k[7:]}": v for k, v in fused.state_dict().items()})
    for one, two in zip(_flat(run(fused, x)), _flat(run(plain, x)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)
    if zero_init:
        np.testing.assert_array_equal(fused.module[4].weight.data, 0)
        np.testing.assert_array_equal(fused(x).data, x)


def _flat(result):
    return [result[0], *result[1]]


def test_fused_blocks_are_really_used(monkeypatch):
    calls = []
    original = nn.BatchNorm2d.fused
    monkeypatch.setattr(
        nn.BatchNorm2d, "fused", lambda self, x, **o: calls.append(o) or original(self, x, **o)
    )
    ts.models.resnet9(4)(images(2, 3, 16, 16))
    assert all(isinstance(o["before"], nn.Conv2d) for o in calls)
    assert [(o["relu"], o["pool"], o["residual"] is not None) for o in calls] == [
        (True, False, False),
        (True, True, False),
        (True, False, False),
        (True, False, True),
        (True, True, False),
        (True, True, False),
        (True, False, False),
        (True, False, True),
    ]


def test_a_residual_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match="broadcast|expected a result of the input's shape"):
        nn.Residual(nn.Conv2d(3, 3, 3))(images(1, 3, 6, 6))
    with pytest.raises(ValueError, match="expected a result of the input's shape"):
        nn.Residual(nn.Conv2d(1, 4, 1))(images(1, 1, 6, 6))


def test_parameters_are_named_in_order_by_their_path():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Residual(nn.Linear(3, 3, bias=False)))
    names = [name for name, _ in model.named_parameters()]
    assert names == ["0.weight", "0.bias", "2.module.weight"]
    assert [p.shape for p in model.parameters()] == [(3, 2), (3,), (3, 3)]


def test_a_shared_module_is_learnt_once():
    layer = nn.Linear(2, 2)
    assert len(list(nn.Sequential(layer, layer).parameters())) == 2


def test_a_module_that_knows_what_contains_it_is_refused_by_name_unless_it_hides_that():
    model = nn.Sequential(nn.Linear(2, 3))
    layer = next(child for _, child in model.named_children())
    layer.parent = model
    for ask in (model.state_dict, lambda: list(model.parameters())):
        with pytest.raises(ValueError, match=r"0\.parent is a Sequential .* _parent"):
            ask()
    del layer.parent
    layer._parent = model
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


def test_state_dict_round_trip_restores_every_bit_and_is_a_copy():
    one, two = ts.models.small_convnet(rng=rng(1)), ts.models.small_convnet(rng=rng(2))
    one(images(4, 3, 12, 12))  # moves the running statistics
    state = one.state_dict()
    two.load_state_dict(state)
    state["0.weight"][:] = 0
    x = images(2, 3, 12, 12, seed=3)
    np.testing.assert_array_equal(one.eval()(x).data, two.eval()(x).data)


def test_a_state_that_does_not_fit_changes_nothing():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = model.state_dict()
    wrong_shape = {**before, "0.weight": before["0.weight"] + 1, "1.weight": np.zeros((2, 3))}
    with pytest.raises(ValueError, match="1.weight is a float64 array of shape \\(2, 3\\)"):
        model.load_state_dict(wrong_shape)
    missing = {k: v + 1 for k, v in before.items() if k != "1.bias"}
    with pytest.raises(KeyError, match="1.bias"):
        model.load_state_dict(missing)
    with pytest.raises(KeyError, match="extra"):
        model.load_state_dict({**before, "extra": np.zeros(1)})
    model.load_state_dict({"1.bias": np.ones(1), "other": np.zeros(1)}, strict=False)
    after = model.state_dict()
    assert after.pop("1.bias").tolist() == [1.0]
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name])


def test_train_and_eval_reach_every_module():
    model = ts.models.resnet9()
    assert all(not module.training for module in model.eval().modules())
    assert all(module.training for module in model.train().modules())


def test_evaluation_does_not_move_the_running_statistics():
    model = ts.models.small_convnet().eval()
    before = model.state_dict()
    model(images(2, 3, 12, 12))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_dropout_layer_follows_its_own_generator_and_the_mode():
    x = np.ones((2, 100), np.float32)
    one, two = nn.Dropout(0.5, rng=rng(1)), nn.Dropout(0.5, rng=rng(1))
    np.testing.assert_array_equal(one(ts.Tensor(x)).data, two(ts.Tensor(x)).data)
    np.testing.assert_array_equal(one.eval()(ts.Tensor(x)).data, x)


def test_he_normal_has_the_variance_he_derived():
    draws = nn.he_normal((200, 30, 3, 3), rng())
    assert draws.var() == pytest.approx(2 / 270, rel=0.02)
    assert draws.dtype == np.float32


def test_flatten_keeps_the_logical_order_of_channels_last_memory():
    x = images(2, 4, 4, 3).transpose(0, 3, 1, 2)
    flat = nn.Flatten()(ts.Tensor(x))
    np.testing.assert_array_equal(flat.data, np.ascontiguousarray(x).reshape(2, -1))


@pytest.mark.parametrize("name", ["small_convnet", "resnet9"])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_models_map_images_to_logits(name, in_channels):
    model = ts.models.MODELS[name](7, in_channels=in_channels, rng=rng())
    out = model(images(2, in_channels, 17, 16))
    assert out.shape == (2, 7)
    assert out.dtype == np.float32
    assert "Conv2d" in repr(model)


def test_resnet9_has_the_layers_its_name_promises():
    convs = [m for m in ts.models.resnet9().modules() if isinstance(m, nn.Conv2d)]
    widths = [(m.in_channels, m.out_channels) for m in convs]
    assert widths == [(3, 32), (32, 64), (64, 64), (64, 64)] + [
        (64, 128),
        (128, 256),
        (256, 256),
        (256, 256),
    ]
    assert all(m.bias is None and m.padding == (1, 1) for m in convs)


def test_gradient_of_a_whole_small_network_agrees_with_finite_differences():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, rng=rng()),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, rng=rng()), nn.BatchNorm2d(3))),
        nn.GlobalAvgPool2d(),
        nn.Flatten(),
        nn.Linear(3, 4, rng=rng()),
    ).astype(np.float64)
    targets = np.array([1, 3, 0])

    def loss(x):
        return ts.cross_entropy(model(x), targets, label_smoothing=0.1)

    ts.gradcheck(loss, numbers(3, 2, 6, 6), tolerance=1e-6)


# Against PyTorch, where it is installed


@pytest.mark.parametrize("name", ["small_convnet", "resnet9"])
def test_weights_move_to_pytorch_and_back_and_a_training_step_agrees(name):
    torch = pytest.importorskip("torch")
    model = ts.models.MODELS[name](5, rng=rng())
    twin = torch_twin(torch, model)  # loads our state dictionary
    x, targets = images(4, 3, 16, 16), np.array([0, 4, 2, 2])

    out = model(x)
    loss = ts.cross_entropy(out, targets, label_smoothing=0.1)
    loss.backward()
    expected = twin(torch.from_numpy(x))
    twin_loss = torch.nn.functional.cross_entropy(
        expected, torch.from_numpy(targets), label_smoothing=0.1
    )
    twin_loss.backward()
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-3, atol=1e-4)
    assert loss.item() == pytest.approx(twin_loss.item(), rel=1e-4)
    theirs = dict(twin.named_parameters())
    for key, parameter in model.named_parameters():
        grad = theirs[key].grad.numpy()
        np.testing.assert_allclose(parameter.grad, grad, rtol=2e-3, atol=2e-3 * np.abs(grad).max())
    back = {k: v.detach().numpy() for k, v in twin.state_dict().items()}
    model.load_state_dict(back)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, back[key])


def recipe(title):
    """Code of a section of the book's recipes, block by block."""
    text = (Path(__file__).parent.parent / "chapters" / "recipes.md").read_text(encoding="utf-8")
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", section, re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


def test_the_recipe_of_the_book_moves_a_network_to_pytorch_and_back(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    options = {
        "data": "drawn", "per_class": 4, "val_per_class": 2, "size": 16, "epochs": 2,
        "batch_size": 8, "model": "resnet9",
    }  # fmt: skip
    ts.training.train(ts.training.TrainConfig(**options), "RUN", progress=False)
    there, back = recipe("Take a network to PyTorch and back")
    names = {}
    exec(there, names)
    model, twin, x = names["model"], names["twin"], images(6, 3, 16, 16)

    def ours_and_theirs():
        with torch.no_grad():
            return model(x).numpy(), twin(torch.from_numpy(x)).numpy()

    np.testing.assert_allclose(*ours_and_theirs(), rtol=0, atol=1e-4)
    twin.train()
    optimiser = torch.optim.SGD(twin.parameters(), lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        twin(torch.from_numpy(x)).square().mean().backward()
        optimiser.step()
    twin.eval()
    ours, theirs = ours_and_theirs()
    assert np.abs(ours - theirs).max() > 1e-2  # PyTorch has trained on
    exec(back, names)
    for name, array in model.state_dict().items():
        assert array.tobytes() == twin.state_dict()[name].numpy().tobytes()
    np.testing.assert_allclose(*ours_and_theirs(), rtol=0, atol=1e-4)


def test_what_modules_share_is_still_shared_in_another_dtype():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    before = model[0].weight
    model.astype(np.float64)
    assert model[0].weight is model[1].weight is before
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float64)}
    assert len(list(model.parameters())) == 3


def test_a_branch_narrower_than_its_input_is_refused():
    x = numbers(2, 8, 4, 4)
    for branch in (nn.Conv2d(8, 1, 1), nn.Sequential(nn.Conv2d(8, 1, 1))):
        block = nn.Residual(branch).astype(np.float64)
        with pytest.raises(ValueError, match=r"\(2, 8, 4, 4\) into \(2, 1, 4, 4\)"):
            block(x)


def test_a_residual_branch_may_end_in_batch_norm_of_features():
    x = numbers(8, 4)
    block = nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm2d(4))).astype(np.float64)
    linear, norm = block.module
    alone = x + np.asarray(norm(linear(x)))
    np.testing.assert_allclose(block(x).numpy(), alone, rtol=1e-12)
    ts.gradcheck(block, x)


def test_a_batch_that_was_refused_is_not_counted():
    norm = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="one value a channel"):
        norm(np.ones((1, 3, 1, 1), np.float32))
    assert norm.num_batches_tracked == 0


def test_a_module_that_does_not_call_ours_can_be_evaluated():
    class Plain(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(2, 2)

        def forward(self, x):
            return self.inner(x)

    plain = Plain()
    assert plain.training and not plain.eval().training


def test_zero_grad_forgets_the_gradients_of_frozen_parameters_too():
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    optimiser = ts.optim.SGD(model.parameters(), lr=0.1)
    x = np.ones((1, 1), np.float32)
    model(x).sum().backward()
    for parameter in model[0].parameters():
        parameter.requires_grad = False
    frozen = model[0].weight.data.copy()
    for _ in range(2):
        model.zero_grad()
        model(x).sum().backward()
        optimiser.step()
    np.testing.assert_array_equal(model[0].weight.data, frozen)


def test_zero_grad_leaves_alone_what_is_no_parameter():
    class Keeps(nn.Linear):
        def forward(self, x):
            self.result = super().forward(x).retain_grad()
            return self.result

    model = nn.Sequential(Keeps(2, 1))
    model[0]._private = ts.Tensor([1.0], requires_grad=True)
    (model(np.ones((1, 2), np.float32)) * model[0]._private).sum().backward()
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model[0].result.grad is not None and model[0]._private.grad is not None


def test_a_residual_runs_a_forward_that_somebody_put_on_its_branch():
    branch = nn.Sequential(nn.ReLU())
    branch.forward = lambda x: x * 10
    assert nn.Residual(branch)(ts.Tensor(np.ones((1, 1, 1, 1)))).item() == 11


def test_a_result_kept_to_look_at_is_no_parameter():
    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = ts.Tensor(np.ones(2, np.float32), requires_grad=True)

        def forward(self, x):
            self.last = x * self.factor
            return self.last

    module = Kept()
    module(np.ones((3, 2), np.float32))
    assert [name for name, _ in module.named_parameters()] == ["factor"]
    assert list(module.state_dict()) == ["factor"]
    before = module.last
    module.astype(np.float64)
    assert module.last is before and before.dtype == np.float32
    with ts.no_grad():
        module(np.ones((3, 2)))
    assert list(module.state_dict()) == ["factor"]
    module.last = module(np.ones((3, 2))).detach()
    assert list(module.state_dict()) == ["factor"]
    module.offset = ts.Tensor(np.zeros(2))  # a frozen parameter is state
    assert list(module.state_dict()) == ["factor", "offset"]


def test_a_slice_of_a_sequential_is_one_of_the_same_modules():
    whole = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    front = whole[:2]
    assert isinstance(front, nn.Sequential) and list(front) == list(whole)[:2]
    assert whole[-1] is list(whole)[2]
    x = np.ones((4, 2), np.float32)
    assert np.array_equal(whole[2](front(x)).numpy(), whole(x).numpy())


@pytest.mark.parametrize("follows", [nn.ReLU, lambda: nn.BatchNorm2d(2)])
def test_a_convolution_whose_stride_was_set_to_a_number_runs_with_what_follows(follows):
    x, block = images(2, 1, 7, 7), nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng()), follows())
    block[0].padding, block[0].stride = 1, 2
    np.testing.assert_allclose(block(x).numpy(), Plain(block)(x).numpy(), rtol=1e-5, atol=1e-6)
