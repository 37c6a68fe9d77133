"""The tensor, recording and the backward walk."""

import copy
import gc
import pickle
import threading
import time
import weakref

import numpy as np
import pytest

import tinysmooth as ts


def leaf(values, dtype=np.float64):
    return ts.Tensor(np.array(values, dtype), requires_grad=True)


# The walk


def test_x_times_x_plus_x_at_3_has_slope_7():
    x = ts.Tensor(3.0, requires_grad=True)
    (x * x + x).backward()
    assert x.grad == 7.0


def test_a_node_is_visited_after_all_that_used_it():
    # With a = 2: b = 3a, c = b + b, d = c * b; d = 18 a^2, slope 36 a = 72. Visiting b before
    # c has sent both its gradients would give less.
    a = leaf(2.0)
    b = 3 * a
    c = b + b
    (c * b).backward()
    assert a.grad == 72.0


def test_a_chain_of_100000_operations_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1e-5
    start = time.perf_counter()
    y.backward()
    assert x.grad == 1.0
    assert y.item() == pytest.approx(2.0)
    assert time.perf_counter() - start < 60  # seconds, not minutes: the walk is linear


def test_a_long_graph_that_is_never_walked_is_dropped_without_recursion():
    y = leaf(1.0)
    for _ in range(100_000):
        y = y * 1.0
    del y
    gc.collect()


def test_a_node_used_1000_times_adds_up():
    x = leaf(2.0)
    shared = x * x
    out = shared
    for _ in range(999):
        out = out + shared
    out.backward()
    assert x.grad == 4000.0


def test_gradients_accumulate_over_backward_calls_until_zeroed():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]
    assert first.tolist() == [2.0, 4.0]  # what the caller holds is not overwritten
    x.zero_grad()
    assert x.grad is None


def test_a_second_backward_over_a_freed_graph_raises_and_says_what_to_do():
    x = leaf(3.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    assert x.grad == 6.0  # nothing was added by the refused walk


def test_a_graph_that_leans_on_a_freed_one_is_refused_too():
    x = leaf(3.0)
    shared = x * x
    (shared * 2).backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        (shared * 3).backward()


def test_retain_graph_allows_a_second_walk_with_the_same_result():
    x = leaf([1.0, -2.0])
    y = (x.exp() * x).sum()
    y.backward(retain_graph=True)
    first = x.grad.copy()
    y.backward()
    np.testing.assert_array_equal(x.grad, 2 * first)


def test_memory_of_a_graph_is_released_by_the_walk():
    seen = []

    @ts.primitive
    def watched(x):
        out = x * 2
        big = np.ones(1000)
        seen.append(weakref.ref(big))
        return out, {"x": lambda grad: grad * 2 * big[0]}

    try:
        x = leaf([1.0])
        y = watched(x)
        assert seen[0]() is not None
        y.sum().backward()
        assert seen[0]() is None
    finally:
        ts.PRIMITIVES.pop("watched")


def test_backward_of_several_elements_needs_a_gradient_of_that_shape():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match="expected one element"):
        (x * x).backward()
    with pytest.raises(ValueError, match="expected \\(2,\\)"):
        (x * x).backward(np.ones(3))
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 40.0]


def test_backward_without_history_is_refused():
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        ts.Tensor(1.0).backward()


def test_a_rule_with_a_wrong_shape_is_named():
    @ts.primitive
    def forgetful(x):
        return x.sum(), {"x": lambda grad: grad}

    try:
        with pytest.raises(
            ValueError, match="rule of forgetful .* shape \\(\\); expected \\(2,\\)"
        ):
            forgetful(leaf([1.0, 2.0])).backward()
    finally:
        ts.PRIMITIVES.pop("forgetful")


def test_an_argument_without_a_rule_is_refused_when_it_needs_one():
    @ts.primitive
    def half_done(x, scale):
        return x * scale, {"x": lambda grad: grad * scale}

    try:
        assert half_done(leaf(2.0), ts.Tensor(3.0)).item() == 6.0
        with pytest.raises(NotImplementedError, match="scale requires a gradient"):
            half_done(leaf(2.0), leaf(3.0))
    finally:
        ts.PRIMITIVES.pop("half_done")


def test_only_needed_rules_are_called():
    calls = []

    @ts.primitive
    def costly(x, weight):
        def rule(name):
            return lambda grad: calls.append(name) or grad

        return x + weight, {"x": rule("x"), "weight": rule("weight")}

    try:
        costly(ts.Tensor([1.0]), leaf([2.0])).sum().backward()
        assert calls == ["weight"]
    finally:
        ts.PRIMITIVES.pop("costly")


def test_two_leaves_never_share_one_gradient_array():
    a, b = leaf([1.0]), leaf([2.0])
    (a + b).sum().backward()
    a.grad *= 100
    assert b.grad.tolist() == [1.0]


def test_retain_grad_keeps_the_gradient_of_a_computed_tensor():
    x = leaf([1.0, 2.0])
    y = (x * 3).retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [6.0, 12.0]


# Honest memory


def test_saved_numbers_cannot_be_changed_before_the_backward():
    x = leaf([1.0, 2.0])
    early = x.data
    y = (x * x).sum()
    for handle in (early, x.data):
        with pytest.raises(ValueError, match="read-only"):
            handle[0] = 100.0
    with pytest.raises(ValueError, match="read-only"):
        x.data += 1.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    x.data += 1.0  # free again
    early[0] = 7.0
    assert x.data.tolist() == [7.0, 3.0]


def test_a_view_of_saved_numbers_is_protected_with_them():
    x = leaf(np.ones((2, 3)))
    y = (x.T @ np.ones((2, 2))).sum()  # matmul saves the transposed view
    z = (x.reshape(6) * x.reshape(6)).sum()
    with pytest.raises(ValueError, match="read-only"):
        x.data[0, 0] = 5.0
    y.backward()
    z.backward()
    x.data[0, 0] = 5.0


def test_numbers_that_no_rule_saved_stay_writeable():
    x = leaf([1.0, 2.0])
    y = (x + 1.0).sum()
    x.data[0] = 50.0
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_dropped_graph_gives_the_numbers_back():
    x = leaf([1.0, 2.0])
    y = x * x
    del y
    gc.collect()
    x.data[0] = 3.0


def test_replacing_the_numbers_does_not_falsify_a_recorded_gradient():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    x.data = np.array([10.0, 20.0])
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_changing_the_original_array_changes_nothing():
    numbers = np.array([1.0, 2.0])
    x = ts.Tensor(numbers, requires_grad=True)
    y = (x * x).sum()
    numbers[:] = 0.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_an_optimiser_step_between_forward_and_backward_is_noticed():
    w = leaf([1.0, 2.0])
    optimiser = ts.optim.SGD([w], lr=0.1)
    first, second = (w * w).sum(), (w * w * w).sum()
    first.backward()
    optimiser.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        second.backward()


# Dtypes, views, protocols


@pytest.mark.parametrize("scalar", [2, 2.5, True, np.float64(2.5), np.int64(3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_number_never_widens_the_dtype(scalar, dtype):
    x = ts.Tensor(np.ones(3, dtype), requires_grad=True)
    for y in (x + scalar, scalar - x, x * scalar, scalar / x, x**2, x / scalar):
        assert y.dtype == dtype
        x.zero_grad()
        y.sum().backward()
        assert x.grad.dtype == dtype


def test_arrays_widen_as_numpy_does_and_gradients_come_back_narrow():
    x = ts.Tensor(np.ones(3, np.float32), requires_grad=True)
    y = x * np.full(3, 2.0)
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_an_integer_tensor_times_a_fraction_is_not_cut():
    assert (ts.Tensor(np.array([1, 2])) * 0.5).data.tolist() == [0.5, 1.0]


def test_ndarray_on_the_left_makes_a_tensor():
    x = leaf([1.0, 2.0])
    for y in (np.array([3.0, 4.0]) * x, np.float64(3.0) * x, np.ones((2, 2)) @ x):
        assert isinstance(y, ts.Tensor)
    y = np.array([3.0, 4.0]) - x
    y.sum().backward()
    assert x.grad.tolist() == [-1.0, -1.0]


@pytest.mark.parametrize(
    "view",
    [lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::-1], lambda a: np.asfortranarray(a)],
    ids=["transposed", "strided", "reversed", "fortran"],
)
def test_non_contiguous_inputs_give_the_same_as_their_copies(view):
    base = np.random.default_rng(0).standard_normal((4, 6))
    one = ts.Tensor(view(base), requires_grad=True)
    two = ts.Tensor(np.ascontiguousarray(view(base)), requires_grad=True)
    for x in (one, two):
        ((x.exp() * x).sum(axis=1) ** 2).sum().backward()
    np.testing.assert_allclose(one.grad, two.grad, rtol=1e-14)


def test_no_grad_stops_recording_as_context_and_decorator_and_nests():
    x = leaf(2.0)
    with ts.no_grad():
        assert not (x * x).requires_grad
        with ts.no_grad():
            pass
        assert not ts.is_grad_enabled()
    assert (x * x).requires_grad

    @ts.no_grad()
    def square(value):
        return value * value

    assert not square(x).requires_grad
    assert not square(square(x)).requires_grad
    with pytest.raises(KeyError), ts.no_grad():
        raise KeyError
    assert ts.is_grad_enabled()


def test_no_grad_is_per_thread():
    seen = []
    with ts.no_grad():
        thread = threading.Thread(target=lambda: seen.append(ts.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_shares_the_numbers_and_forgets_the_history():
    x = leaf([1.0, 2.0])
    y = (x * 2).detach()
    assert not y.requires_grad
    d = x.detach()
    d.data[0] = 9.0
    assert x.data[0] == 9.0


def test_integers_cannot_require_a_gradient_but_bare_ones_become_floats():
    with pytest.raises(TypeError, match="int64.*floating"):
        ts.Tensor(np.array([1, 2]), requires_grad=True)
    x = ts.Tensor(3, requires_grad=True)
    (x * x).backward()
    assert x.grad == 6.0


def test_leaves_can_be_copied_and_pickled_and_computed_tensors_not():
    x = leaf([1.0, 2.0])
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad
        np.testing.assert_array_equal(twin.data, x.data)
        twin.data[0] = 5.0
        assert x.data[0] == 1.0
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)


def test_python_protocols():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.data.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    assert float(x[0, 1]) == 2.0
    assert x[1, 1].item() == 4.0
    np.testing.assert_array_equal(np.asarray(x), x.data)
    assert (x > 2).tolist() == [[False, False], [True, True]]
    assert (x == x).all()
    assert "float64" in repr(x)
    assert "from multiply" in repr(x * 2)
    with pytest.raises(TypeError, match="item assignment"):
        x[0] = 1.0
    with pytest.raises(ValueError, match="exactly one element"):
        x.item()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    assert {x: "tensors are hashable by identity"}[x]
    assert x.T.shape == x.transpose(1, 0).shape == (2, 2)
    assert x.reshape(4).shape == x.reshape((4,)).shape == x.reshape(-1).shape == (4,)


def test_a_rule_cannot_spoil_the_gradient_of_another_branch():
    @ts.primitive
    def double(x):
        return 2 * x, {"x": lambda grad: np.multiply(grad, 2, out=grad)}

    try:
        x = leaf([1.0, 2.0])
        with pytest.raises(ValueError, match="read-only"):
            (double(x) + x * 3).sum().backward()
    finally:
        ts.PRIMITIVES.pop("double")


def test_gradients_that_a_rule_passes_on_can_be_written_to_afterwards():
    x = leaf([1.0, 2.0])
    (x + 1).backward([1.0, 1.0])
    x.grad *= 2
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("join", [ts.stack, ts.concatenate])
def test_who_gets_a_gradient_is_decided_in_the_forward(join):
    a, b = leaf([1.0]), ts.Tensor([2.0])
    y = join([a, b]).sum()
    a.requires_grad, b.requires_grad = False, True
    y.backward()
    assert a.grad.tolist() == [1.0] and b.grad is None


def test_comparing_with_something_else_leaves_the_answer_to_it():
    assert ts.Tensor(0.5) == pytest.approx(0.5)
    assert (ts.Tensor([1.0, 2.0]) == None) is False  # noqa: E711
    assert ts.Tensor(0.5).__lt__(object()) is NotImplemented


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match="masked array"):
        ts.Tensor(np.ma.masked_array([1.0, 2.0], [0, 1]))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, out: np.fft.fft(x),
        lambda x, out: np.copyto(out, x),
        lambda x, out: np.put(out, [0, 1], x),
        lambda x, out: np.putmask(out, out == 0, x),
        lambda x, out: np.add.at(out, [0, 1], x),
    ],
    ids=["complex", "copyto", "put", "putmask", "add.at"],
)
def test_a_gradient_is_not_lost_by_other_ways_out(call):
    x, out = ts.Tensor([1.0, 2.0], requires_grad=True), np.zeros(2)
    with pytest.raises(TypeError, match="requires a gradient"):
        call(x, out)
    assert out.tolist() == [0.0, 0.0]
    call(x.detach(), out)


def test_a_loss_can_be_formatted_and_cut_off():
    loss = ts.Tensor(2.71828)
    assert f"{loss:.3f} {ts.Tensor(7):4d} {ts.Tensor([1.5]):g}" == "2.718    7 1.5"
    assert f"{loss}" == str(loss) and int(loss) == 2 and int(ts.Tensor([-2.9])) == -2
    with pytest.raises(TypeError, match=r"'.3f' came for shape \(2,\); expected one element"):
        format(ts.Tensor([1.0, 2.0]), ".3f")


def test_tensors_deep_in_a_list_do_not_lose_their_gradient_unseen():
    a, b = ts.Tensor(1.0, requires_grad=True), ts.Tensor(2.0, requires_grad=True)
    weight = ts.Tensor(np.ones((3, 2)), requires_grad=True)
    for use in (
        lambda: ts.linear([[a, b]], weight),
        lambda: ts.exp([[[a]], [[b]]]),
        lambda: weight * ((a, b),),
        lambda: ts.softmax([[a, b]]),
        lambda: ts.cross_entropy([[a, b]], [0]),
        lambda: ts.cross_entropy(np.zeros((1, 2)), [[a, b]]),
        lambda: ts.cross_entropy(np.zeros((1, 2)), [0], weight=[a, b]),
        lambda: ts.Tensor([a, [b]]),
    ):
        with pytest.raises(TypeError, match=r"Join them with ts\.stack"):
            use()
    assert ts.Tensor([a.detach(), b.detach()]).numpy().tolist() == [1.0, 2.0]
