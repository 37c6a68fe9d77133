"""What may come into an operation, and what a later change of it must not do."""

import contextlib
import gc
import re
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth.primitive import is_grad_enabled


@pytest.fixture
def primitives():
    """Forget the operations that a test defines."""
    before = dict(ts.PRIMITIVES)
    yield
    ts.PRIMITIVES.clear()
    ts.PRIMITIVES.update(before)


def ones():
    return ts.Tensor(np.ones(3), requires_grad=True)


# ------------------------------------------------------------------ arrays of the caller


def test_a_later_change_of_a_plain_array_does_not_change_a_gradient():
    x, factor = ones(), np.full(3, 2.0)
    y = (x * factor).sum()
    factor[:] = 5
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("layer", ["linear", "convolution"])
def test_nor_does_that_of_an_input_buffer(layer):
    if layer == "linear":
        module, buffer = ts.nn.Linear(2, 2), np.ones((3, 2), np.float32)
    else:  # channels last, so that no copy is made on the way
        module = ts.nn.Conv2d(2, 2, 1)
        buffer = np.ones((1, 3, 3, 2), np.float32).transpose(0, 3, 1, 2)
    loss = module(buffer).sum()
    buffer[:] = 7
    loss.backward()
    count = 3 if layer == "linear" else 9
    np.testing.assert_array_equal(module.weight.grad, np.full(module.weight.shape, count))


@pytest.mark.parametrize("key", [np.array([0, 1]), [0, 1], (np.array([True, True, False]),)])
def test_nor_does_that_of_an_index(key):
    x = ones()
    y = x[key].sum()
    inside = key[0] if isinstance(key, tuple) else key
    inside[0] = 0 if inside[0] else 2
    y.backward()
    assert x.grad.tolist() == [1, 1, 0]


def test_running_statistics_are_no_copies():
    norm = ts.nn.BatchNorm2d(2)
    mean = norm.running_mean
    norm(ts.Tensor(np.random.default_rng(0).random((4, 2, 3, 3), np.float32), requires_grad=True))
    assert mean.all() and mean is norm.running_mean


class Square:
    """A rule that keeps its array as an attribute."""

    def __init__(self, x):
        self.x = x

    def __call__(self, grad):
        return 2 * grad * self.x

    def method(self, grad):
        return 2 * grad * self.x


RULES = {
    "object": Square,
    "bound method": lambda x: Square(x).method,
    "partial": lambda x: partial(lambda saved, grad: 2 * grad * saved, x),
    "view": lambda x: (lambda view: lambda grad: 2 * grad * view)(x[:]),
    "attribute": lambda x: (lambda kept: lambda grad: 2 * grad * kept.x)(Square(x)),
    "containers": lambda x: (lambda kept: lambda grad: 2 * grad * kept[0]["a"][0][0])(
        [{"a": [(x,)]}]
    ),
}


@pytest.mark.parametrize("kind", RULES)
def test_whatever_way_a_rule_keeps_an_array_it_is_protected(kind, primitives):
    @ts.primitive
    def square(x):
        return x * x, {"x": RULES[kind](x)}

    x = ones()
    y = square(x).sum()
    with pytest.raises(ValueError, match="read-only"):
        x.data[...] = 50
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]
    x.data[...] = 50


def test_a_result_that_looks_into_what_a_rule_keeps_is_protected(primitives):
    @ts.primitive
    def square(x):
        both = np.concatenate([x * x, x])
        return both[:3], {"x": lambda grad: 2 * grad * both[3:]}

    x = ones()
    y = square(x)
    with pytest.raises(ValueError, match="read-only"):
        y.data[...] = 50
    y.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x * np.array([1, 2, 3], object), "multiply: b is a object array"),
        (lambda x: x * np.array([1j, 2, 3]), "multiply: b is a complex128 array"),
        (lambda x: x + np.complex128(1j), "add: b is .*; expected a real number"),
        (lambda x: x * np.ma.masked_array([1.0, 2, 3], [0, 1, 0]), "without a mask"),
        (lambda x: x * [x, x, x], r"Join them with ts\.stack"),
        (lambda x: ts.concatenate([x, [x, x]]), r"concatenate: arrays\[1\] is .*Join them"),
        (lambda x: ts.stack(3.0), "stack: arrays is .*; expected a list or tuple"),
        (lambda x: ts.sum(None), "sum: x is None"),
        (lambda x: ts.maximum(x, None), "maximum: b is None"),
        (lambda x: ts.relu("no"), "relu: x is 'no'"),
        (
            lambda x: ts.batch_norm(np.ones((4, 3)), x, x, [0.0] * 3, [1.0] * 3, True),
            "running_mean is .*; expected a Tensor, an array or None",
        ),
        (lambda x: ts.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1)), 1.0), "conv2d: bias is"),
    ],
)
def test_what_is_no_real_array_is_refused_by_name(call, message):
    with pytest.raises(TypeError, match=message):
        call(ones())


def test_numbers_and_lists_count_as_arrays_in_a_sequence_too():
    x = ones()
    y = ts.concatenate([x, [4.0, 5.0]])
    assert y.numpy().tolist() == [1, 1, 1, 4, 5] and y.requires_grad
    assert ts.stack([1.0, x[0]]).shape == (2,)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_multiplies_by_element_like_any_array():
    product = ts.Tensor(np.full((2, 2), 2.0)) * np.matrix([[1.0, 2], [3, 4]])
    assert product.numpy().tolist() == [[2, 4], [6, 8]]


@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), (1.0,), (1.0, None), 3.0])
def test_a_primitive_without_rules_is_refused(value, primitives):
    @ts.primitive
    def forgetful(x):
        return value

    with pytest.raises(TypeError, match=r"forgetful: returned .*; expected \(value, rules\)"):
        forgetful(ones())


# ------------------------------------------------------------------ no_grad


def test_calls_of_one_decorated_function_may_overlap_in_threads():
    inside, leave = threading.Event(), threading.Event()
    recording = {}

    @ts.no_grad()
    def run(body):
        body()

    def stay():
        inside.set()
        leave.wait(10)

    def first():
        run(stay)
        recording["first"] = is_grad_enabled()

    def wait_for_first():
        leave.set()
        thread.join(10)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    with ts.no_grad():
        run(wait_for_first)
        recording["second"] = is_grad_enabled()
    assert recording == {"first": True, "second": False} and is_grad_enabled()


def test_no_grad_decorates_without_parentheses_too():
    @ts.no_grad
    def double(x):
        return 2 * x

    assert not double(ones()).requires_grad and is_grad_enabled()
    assert double.__name__ == "double"


def test_no_grad_refuses_what_it_cannot_decorate():
    def numbers():
        yield 1

    for wrong in (numbers, 3):
        with pytest.raises(TypeError, match="no_grad: .*expected a function"):
            ts.no_grad(wrong)


# ------------------------------------------------------------------ the garbage collector


COLLECT_ANYWHERE = """
import faulthandler, gc
faulthandler.dump_traceback_later(60, exit=True)
import numpy as np, tinysmooth as ts

class Keep: pass

x = ts.Tensor(np.ones(3), requires_grad=True)
for after in range(1, 12):
    gc.disable()
    gc.collect()
    y = ts.Tensor(np.ones(3))
    y.detach()
    view = x.data
    keep = Keep()
    keep.graph, keep.me = (x * x).sum(), keep
    del keep
    gc.set_threshold(gc.get_count()[0] + after)
    gc.enable()
    y.data  # the collector starts somewhere in here
    gc.collect()
    view[0] = 1.0  # and the graph has let go
"""


def test_a_graph_may_be_collected_while_a_tensor_is_lent():
    done = subprocess.run(
        [sys.executable, "-c", COLLECT_ANYWHERE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_dropped_graph_gives_its_arrays_back_at_once():
    x = ones()
    view = x.data
    y = x * x
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 2
    del y
    gc.collect()
    view[0] = 2
    assert x.numpy()[0] == 2


@pytest.mark.parametrize("function", [np.sum, np.mean, np.max, np.min])
def test_numpys_reductions_are_recorded_like_the_methods(function):
    x = ts.Tensor([1.0, 2.0, 5.0], requires_grad=True)
    y = function(x)
    y.backward()
    assert y.item() == function(x.numpy()) and x.grad.sum() == pytest.approx(
        {np.sum: 3, np.mean: 1, np.max: 1, np.min: 1}[function]
    )
    with pytest.raises(TypeError, match="is not taken"):
        function(x, out=np.zeros(()))


NUMPY_CALLS = {
    "amin": lambda x, y: np.amin(x, 0),
    "array @ tensor": lambda x, y: np.ones((3, 2)) @ x,
    "concatenate": lambda x, y: np.concatenate([x, np.ones((1, 3)), y], axis=0),
    "divide": lambda x, y: np.divide(np.float64(2), x),
    "exp": lambda x, y: np.exp(x) - np.tanh(y),
    "log": lambda x, y: np.log(np.absolute(x)) * np.sqrt(np.power(y, 2)),
    "max": lambda x, y: np.max(x, axis=1, keepdims=True),
    "maximum": lambda x, y: np.maximum(x, y) + np.minimum(np.ones(3), np.negative(x)),
    "mean": lambda x, y: np.mean(x * y, 0),
    "reshape": lambda x, y: np.reshape(x, (3, -1)),
    "stack": lambda x, y: np.stack((x, y), axis=1),
    "transpose": lambda x, y: np.transpose(x, (1, 0)),
    "where": lambda x, y: np.where(np.array([True, False, True]), x, y),
}


@pytest.mark.parametrize("name", NUMPY_CALLS)
def test_functions_of_numpy_record_tensors(name):
    call, rng = NUMPY_CALLS[name], np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    x, y = ts.Tensor(a, requires_grad=True), ts.Tensor(b, requires_grad=True)
    result = call(x, y)
    assert isinstance(result, ts.Tensor) and result.requires_grad
    np.testing.assert_array_equal(result.data, call(a, b))
    assert ts.gradcheck(call, [a, b]).max_relative_error < 1e-6


LOST = {
    "numpy.dot": lambda x: np.dot(x, x),
    "numpy.linalg.norm": np.linalg.norm,
    "numpy.hstack": lambda x: np.hstack([np.ones((2, 2)), x]),
    "numpy.einsum": lambda x: np.einsum("ij->i", x),
    "numpy.split": lambda x: np.split(x, 2),
    "numpy.round": np.round,
    "numpy.sin": np.sin,
    "numpy.add.reduce": np.add.reduce,
    "numpy.add.outer": lambda x: np.add.outer(np.ones(2), x),
}


@pytest.mark.parametrize("name", LOST)
def test_no_function_of_numpy_loses_a_gradient_silently(name):
    call, numbers = LOST[name], np.arange(4.0).reshape(2, 2)
    x = ts.Tensor(numbers, requires_grad=True)
    with pytest.raises(TypeError, match=rf"^{re.escape(name)}: .*x\.detach\(\)"):
        call(x)
    with ts.no_grad():
        inside = call(x)
    for result in (inside, call(x.detach()), call(ts.Tensor(numbers))):
        np.testing.assert_array_equal(result, call(numbers))


def test_an_array_takes_a_tensor_in_place_only_where_no_gradient_gets_lost():
    total, x = np.ones((2, 2)), ts.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with pytest.raises(TypeError, match=r"^numpy.add: .* in place; .*x\.detach\(\)"):
        total += x
    assert total.tolist() == [[1, 1], [1, 1]]
    total += x.detach()
    assert type(total) is np.ndarray and total.tolist() == [[2, 3], [4, 5]]
    with ts.no_grad():
        np.multiply(x, 2.0, out=total)
    assert total.tolist() == [[2, 4], [6, 8]]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.allclose(x, 1.0),
        np.isfinite,
        lambda x: np.float64(2) < x,
        lambda x: np.argmax(x, axis=1),
        lambda x: np.where(x),
        np.shape,
        np.copy,
        np.zeros_like,
        lambda x: np.full_like(x, 2.0),
        np.asarray,
        np.array2string,
    ],
)
def test_what_has_no_gradient_is_told_of_any_tensor(call):
    numbers = np.arange(4.0).reshape(2, 2)
    result = call(ts.Tensor(numbers, requires_grad=True))
    assert not isinstance(result, ts.Tensor)
    np.testing.assert_array_equal(result, call(numbers))
    np.testing.assert_allclose(ts.Tensor(numbers, requires_grad=True), numbers)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: ts.reshape(a, (2, 1)),
        ts.transpose,
        lambda a: ts.dropout(a, 0.5, training=False),
        lambda a: ts.nn.Flatten()(a),
        lambda a: ts.relu(ts.reshape(a, (1, 2))),
    ],
    ids=["reshape", "transpose", "dropout", "flatten", "relu"],
)
@pytest.mark.parametrize("recording", [True, False])
def test_no_result_looks_into_an_array_of_the_callers(view, recording):
    buffer = np.ones((1, 2))
    with contextlib.nullcontext() if recording else ts.no_grad():
        result = view(buffer)
    buffer[...] = 50.0
    assert (result.data == 1).all()


def test_a_change_of_the_input_does_not_reach_a_later_gradient_through_a_view():
    layers = ts.nn.Sequential(ts.nn.Flatten(), ts.nn.Dropout(0.5), ts.nn.Linear(2, 1)).eval()
    buffer = np.ones((1, 2), np.float32)
    loss = layers(buffer).sum()
    buffer[...] = 50.0
    loss.backward()
    np.testing.assert_array_equal(layers[2].weight.grad, [[1.0, 1.0]])


@pytest.mark.parametrize("condition", [np.array([1, 0, 1]), np.array([True, False, True])])
def test_a_number_beside_integers_and_floats_takes_the_dtype_of_the_floats(condition):
    x = ts.Tensor(np.array([1, 2, 3], np.float32))
    assert ts.where(condition, x, 0.0).dtype == np.float32
    assert ts.where(condition, np.array([1, 2, 3]), 0.5).dtype == np.float64


def test_too_many_arguments_name_the_operation():
    with pytest.raises(TypeError, match="relu: too many positional arguments"):
        ts.relu(1.0, 2.0)


def test_a_rule_with_too_few_gradients_is_named(primitives):
    @ts.primitive
    def product_of(xs: list):
        return xs[0] * xs[1], {"xs": lambda grad: (grad * xs[1],)}

    a = ts.Tensor([1.0], requires_grad=True)
    with pytest.raises(ValueError, match="product_of returned 1 gradients; expected 2"):
        product_of([a, a]).backward()


class Slotted:
    """Keeps an array where no ``__dict__`` tells of it."""

    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize("kept", ["slots", "keyword-only default"])
def test_arrays_in_slots_and_defaults_are_protected(kept, primitives):
    @ts.primitive
    def square_of(x):
        saved = Slotted(x)
        if kept == "slots":
            return x * x, {"x": lambda grad: 2 * grad * saved.x}

        def rule(grad, *, x=x):
            return 2 * grad * x

        return x * x, {"x": rule}

    w = ts.Tensor([1.0, 2.0], requires_grad=True)
    result = square_of(w).sum()
    with pytest.raises(ValueError, match="read-only"):
        w.data[...] = 100.0
    result.backward()
    assert w.grad.tolist() == [2.0, 4.0]


def test_a_later_change_of_any_buffer_does_not_change_a_gradient():
    layer, buffer = ts.nn.Linear(4, 1).astype(np.float64), np.ones(4)
    loss = layer(memoryview(buffer)).sum()
    buffer[0] = 100.0
    loss.backward()
    np.testing.assert_array_equal(layer.weight.grad, np.ones((1, 4)))


def test_the_gradient_of_a_number_stays_an_array():
    x = ts.Tensor(1.0, requires_grad=True)
    for _ in range(2):
        (2 * x).backward()
    assert isinstance(x.grad, np.ndarray) and x.grad == 4
