"""The gradient check: what it reports, what it refuses, and the wrong gradients it must catch."""

import numpy as np
import pytest
from gradient_cases import distinct, numbers, positive

import tinysmooth as ts

# A gallery of wrong gradients: each is a mistake people make. The value is right, the rule is not.


def softmax_rows(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def smoothed(targets, num_classes, epsilon):
    q = np.full((len(targets), num_classes), epsilon / num_classes)
    q[np.arange(len(targets)), targets] += 1 - epsilon
    return q


TARGETS, EPSILON = np.array([1, 0, 3]), 0.1


def smoothed_loss(gradient):
    """Mean label-smoothed cross-entropy with a rule of the caller's."""

    def loss(z):
        z_shifted = z - z.max(axis=1, keepdims=True)
        log_probs = z_shifted - np.log(np.exp(z_shifted).sum(axis=1, keepdims=True))
        q = smoothed(TARGETS, z.shape[1], EPSILON)
        value = -(q * log_probs).sum(axis=1).mean()
        return value, {"z": lambda grad: grad * gradient(softmax_rows(z))}

    return loss


def forgotten_mean():
    return smoothed_loss(lambda p: p - smoothed(TARGETS, 4, EPSILON)), [numbers(3, 4)]


def missing_epsilon_over_k():
    def gradient(p):
        q = smoothed(TARGETS, 4, EPSILON)
        q[np.arange(3), TARGETS] = 1 - EPSILON
        return (p - q) / 3

    return smoothed_loss(gradient), [numbers(3, 4)]


def epsilon_over_k_minus_1():
    def gradient(p):
        q = np.full((3, 4), EPSILON / 3)
        q[np.arange(3), TARGETS] = 1 - EPSILON
        return (p - q) / 3

    return smoothed_loss(gradient), [numbers(3, 4)]


def no_smoothing_in_the_gradient():
    return smoothed_loss(lambda p: (p - smoothed(TARGETS, 4, 0.0)) / 3), [numbers(3, 4)]


def softmax_without_its_jacobian():
    def softmax(z):
        p = softmax_rows(z)
        return p, {"z": lambda grad: grad * p * (1 - p)}  # the diagonal only

    return softmax, [numbers(3, 4)]


def assigned_instead_of_accumulated():
    def twice_indexed(x):
        index = np.array([0, 2, 0])

        def rule(grad):
            back = np.zeros_like(x)
            back[index] = grad  # the second write of row 0 overwrites the first
            return back

        return x[index], {"x": rule}

    return twice_indexed, [numbers(3, 2)]


def missing_unbroadcast():
    def add_row(x, row):
        return x + row, {"x": lambda grad: grad, "row": lambda grad: grad[0]}

    return add_row, [numbers(3, 4), numbers(4)]


def swapped_transposes():
    def product(a, b):
        return a @ b, {"a": lambda grad: grad @ b, "b": lambda grad: a @ grad}

    return product, [numbers(3, 3), numbers(3, 3, seed=1)]


def relu_slope_at_negative_numbers():
    def leaky(x):
        return np.maximum(x, 0), {"x": lambda grad: grad * (x >= -0.5)}

    return leaky, [np.array([-0.3, 0.4, 1.0])]


def relu_mask_of_the_gradient():
    def relu(x):
        return np.maximum(x, 0), {"x": lambda grad: grad * (grad > 0)}

    return relu, [numbers(3, 4)]


def dropped_padding():
    def padded_sum(x):
        framed = np.pad(x, 1)
        windows = framed[:-2, :-2] + framed[1:-1, 1:-1] + framed[2:, 2:]

        def rule(grad):  # forgets that the windows are shifted against x
            back = np.zeros_like(x)
            back[:-1, :-1] += grad[:-1, :-1]
            back += grad
            back[1:, 1:] += grad[1:, 1:]
            return back

        return windows, {"x": rule}

    return padded_sum, [numbers(4, 4)]


def pooling_to_the_last_of_the_window():
    def pool(x):
        pairs = x.reshape(-1, 2)
        mask = np.zeros_like(pairs)
        mask[:, 1] = 1
        return pairs.max(axis=1), {"x": lambda grad: (mask * grad[:, None]).reshape(x.shape)}

    return pool, [distinct(8)]


def pooling_tie_paid_twice():
    def largest(x):
        top = x.max()
        return top, {"x": lambda grad: grad * (x >= top - 0.2)}  # neighbours of the maximum too

    return largest, [distinct(6)]


def constant_batch_statistics():
    def normalise(x):
        mean, std = x.mean(axis=0), x.std(axis=0)
        return (x - mean) / std, {"x": lambda grad: grad / std}  # as if they did not depend on x

    return normalise, [numbers(5, 3)]


def variance_without_its_gradient():
    def normalise(x):
        mean, std = x.mean(axis=0), x.std(axis=0)
        return (x - mean) / std, {"x": lambda grad: (grad - grad.mean(axis=0)) / std}

    return normalise, [numbers(5, 3)]


def mean_as_sum():
    def mean(x):
        return x.mean(), {"x": lambda grad: np.broadcast_to(grad, x.shape)}

    return mean, [numbers(3, 4)]


def sigmoid_of_the_input():
    def sigmoid(x):
        return 1 / (1 + np.exp(-x)), {"x": lambda grad: grad * x * (1 - x)}

    return sigmoid, [numbers(5)]


def division_with_a_lost_sign():
    def divide(a, b):
        return a / b, {"a": lambda grad: grad / b, "b": lambda grad: grad * a / b**2}

    return divide, [numbers(4), positive(4)]


def unscaled_dropout():
    def dropout(x):
        mask = np.array([1.0, 0.0, 1.0, 1.0])
        return x * mask / 0.75, {"x": lambda grad: grad * mask}

    return dropout, [numbers(4)]


def unflipped_filter():
    def correlate(x, w):
        windows = np.lib.stride_tricks.sliding_window_view(x, 3)

        def x_rule(grad):  # the adjoint runs the filter backwards
            return np.convolve(grad, w[::-1])

        return windows @ w, {"x": x_rule, "w": lambda grad: windows.T @ grad}

    return correlate, [numbers(7), numbers(3)]


GALLERY = [
    forgotten_mean,
    missing_epsilon_over_k,
    epsilon_over_k_minus_1,
    no_smoothing_in_the_gradient,
    softmax_without_its_jacobian,
    assigned_instead_of_accumulated,
    missing_unbroadcast,
    swapped_transposes,
    relu_slope_at_negative_numbers,
    relu_mask_of_the_gradient,
    dropped_padding,
    pooling_to_the_last_of_the_window,
    pooling_tie_paid_twice,
    constant_batch_statistics,
    variance_without_its_gradient,
    mean_as_sum,
    sigmoid_of_the_input,
    division_with_a_lost_sign,
    unscaled_dropout,
    unflipped_filter,
]


@pytest.fixture
def temporary_primitive():
    before = dict(ts.PRIMITIVES)
    yield ts.primitive
    ts.PRIMITIVES.clear()
    ts.PRIMITIVES.update(before)


@pytest.mark.parametrize("directions", [None, 5], ids=["elements", "directions"])
@pytest.mark.parametrize("wrong", GALLERY, ids=lambda f: f.__name__)
def test_a_wrong_gradient_is_rejected(wrong, directions, temporary_primitive):
    function, inputs = wrong()
    with pytest.raises(ts.GradcheckError) as caught:
        ts.gradcheck(temporary_primitive(function), inputs, directions=directions)
    assert caught.value.report.max_relative_error > 1e-3


def test_the_right_form_of_the_same_loss_passes(temporary_primitive):
    function = smoothed_loss(lambda p: (p - smoothed(TARGETS, 4, EPSILON)) / 3)
    report = ts.gradcheck(temporary_primitive(function), [numbers(3, 4)], tolerance=1e-8)
    assert report.comparisons == 12


def test_the_report_names_the_worst_element_and_both_numbers(temporary_primitive):
    def square(x):
        slope = 2 * x
        slope[1, 2] += 1
        return x**2, {"x": lambda grad: grad * slope}

    x = numbers(2, 3)
    with pytest.raises(ts.GradcheckError, match=r"inputs\[0\] at element \(1, 2\)") as caught:
        ts.gradcheck(lambda x: temporary_primitive(square)(x).sum(), x)
    report = caught.value.report
    assert report.worst_element == (1, 2)
    assert report.analytic == pytest.approx(2 * x[1, 2] + 1)
    assert report.numeric == pytest.approx(2 * x[1, 2], rel=1e-8)
    assert not report.kink_suspected
    assert "kink" not in str(caught.value)


def test_a_kink_is_suspected_where_there_is_one():
    with pytest.raises(ts.GradcheckError, match="kink is suspected") as caught:
        ts.gradcheck(lambda x: ts.relu(x).sum(), np.array([1.0, 0.0, -1.0]))
    assert caught.value.report.worst_element == (1,)


def test_relu_at_greater_or_equal_is_caught_at_the_kink(temporary_primitive):
    # Central differences see 1/2 at the kink: neither the 0 of PyTorch nor the 1 of ">=".
    def relu(x):
        return np.maximum(x, 0), {"x": lambda grad: grad * (x >= 0)}

    with pytest.raises(ts.GradcheckError, match="kink"):
        ts.gradcheck(temporary_primitive(relu), np.array([0.0, 1.0]))


def test_one_wrong_element_among_many_large_ones_is_found(temporary_primitive):
    def scaled(x):
        slope = np.full_like(x, 1e3)
        slope[-1] = 1.01  # true 1.0: one percent of a thousandth of the largest
        true = slope.copy()
        true[-1] = 1.0
        return x * true, {"x": lambda grad: grad * slope}

    with pytest.raises(ts.GradcheckError):
        ts.gradcheck(temporary_primitive(scaled), numbers(6))


def test_an_exactly_zero_gradient_passes():
    x = numbers(5)
    assert ts.gradcheck(lambda t: (t - t).sum() + 1e6, x).max_relative_error == 0.0


def test_small_slopes_beside_rounding_are_compared():
    """Those that rounding cannot hide, and those that are 0 but for it."""
    ts.gradcheck(lambda w: (w * w).mean() + 1e4, np.ones(1000))
    ts.gradcheck(lambda w: (w * w).sum() + 3e7, np.ones(3))
    x, scale, shift = (
        np.random.default_rng(0).standard_normal((16, 3, 16, 16)),
        np.ones(3),
        np.zeros(3),
    )
    ts.gradcheck(
        lambda b: ts.batch_norm(x + b.reshape(1, 3, 1, 1), scale, shift, None, None, True), shift
    )


@pytest.mark.parametrize("slope, constant", [(1e-5, 1e5), (1e-3, 1e7)])
def test_a_slope_that_rounding_hides_is_no_proof(slope, constant, temporary_primitive):
    def hidden(x):
        return slope * x + constant, {"x": lambda grad: 0.9999 * slope * grad}

    with pytest.raises((ValueError, ts.GradcheckError)):
        ts.gradcheck(temporary_primitive(hidden), np.array([1.0, 2.0, 3.0]))


def test_large_inputs_are_checked_along_directions():
    report = ts.gradcheck(lambda x: (x * x).sum(), numbers(1001))
    assert report.worst_element is None
    assert report.comparisons == 20


def test_inputs_are_left_as_they_were():
    x = ts.Tensor(numbers(3), requires_grad=True)
    before = x.data.copy()
    ts.gradcheck(lambda t: (t * t).sum(), x)
    np.testing.assert_array_equal(x.data, before)
    assert x.grad is None


def test_a_nan_gradient_fails(temporary_primitive):
    def broken(x):
        return x * 2, {"x": lambda grad: grad * np.nan}

    with pytest.raises(ts.GradcheckError):
        ts.gradcheck(temporary_primitive(broken), numbers(3))


def test_halving_the_step_divides_the_truncation_error_by_four():
    """The error of the central difference is h^2 f''' / 6, so the slope itself is 2 in log-log."""
    x = np.array([0.7])
    errors = [
        abs((np.exp(x + h) - np.exp(x - h)) / (2 * h) - np.exp(x))[0] for h in (1e-2, 5e-3, 2.5e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.01)
    assert errors[1] / errors[2] == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("function", "inputs", "options", "error", "message"),
    [
        (ts.exp, np.ones(3, np.float32), {}, TypeError, "float32; expected float64"),
        (ts.exp, np.array([np.nan]), {}, ValueError, "NaN or infinity"),
        (ts.exp, np.ones(3, int), {}, ValueError, "nothing to check"),
        (ts.exp, np.ones(0), {}, ValueError, "no elements"),
        (lambda x: x.data, np.ones(3), {}, TypeError, "expected a Tensor"),
        (lambda x: ts.Tensor(1.0), np.ones(3), {}, ValueError, "does not require a gradient"),
        (lambda x: ts.dropout(x), np.ones(30), {}, ValueError, "two different values"),
        (ts.exp, np.ones(3), {"step": 0.0}, ValueError, "step is 0"),
        (ts.exp, np.ones(3), {"tolerance": 2.0}, ValueError, "tolerance is 2"),
        (ts.exp, np.ones(3), {"directions": 0}, ValueError, "directions is 0"),
        (ts.exp, np.ones(3), {"rng": 3}, TypeError, "rng is 3"),
    ],
)
def test_what_cannot_be_checked_is_refused(function, inputs, options, error, message):
    with pytest.raises(error, match=message):
        ts.gradcheck(function, inputs, **options)


@pytest.mark.parametrize(("constant", "wrong"), [(1e10, 0.0), (1e8, 1.001)])
def test_where_rounding_hides_every_slope_nothing_is_certified(
    constant, wrong, temporary_primitive
):
    @ts.primitive
    def shifted(x):
        return x + constant, {"x": lambda grad: grad * wrong}

    with pytest.raises(ValueError, match="rounding hides slopes"):
        ts.gradcheck(shifted, np.array([1.0]))


def test_an_input_too_large_for_the_step_is_named():
    with pytest.raises(ValueError, match=r"inputs\[0\] has numbers up to 1e\+12"):
        ts.gradcheck(lambda x: x * 2, np.array([1e12]))


@pytest.mark.parametrize("given", [3.0, np.array(3.0), [np.array(3.0)], ts.Tensor(3.0)])
def test_a_single_number_is_checked_like_any_input(given):
    if isinstance(given, ts.Tensor):
        given = ts.Tensor(given.data, requires_grad=True)
    report = ts.gradcheck(lambda x: x.exp() * x, given)
    assert report.comparisons == 1 and report.worst_element == ()
    assert report.analytic == pytest.approx(4 * np.exp(3.0))


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda x: (x * np.array([1.0, 2e-9])).sum() + 1000.0, [1.0, 1.0]),
        (lambda z: ts.cross_entropy(z, [1]), [[0.0, -300.0, -20.5]]),
        (lambda z: ts.cross_entropy(z, [1]), [[0.0, -300.0, -20.0]]),
        (lambda z: ts.logsumexp(z, axis=1), [[0.0, -21.0], [-20.5, 0.0]]),
    ],
)
def test_a_right_slope_too_small_to_move_the_result_passes(function, given):
    assert not ts.gradcheck(function, [np.array(given)]).kink_suspected


def test_a_wrong_slope_beside_a_result_that_did_not_move_fails(temporary_primitive):
    @ts.primitive
    def scaled(x):
        return x * np.array([1.0, 2e-9]), {"x": lambda grad: grad * np.array([1.0, 1e-3])}

    with pytest.raises(ts.GradcheckError, match=r"element \(1,\)"):
        ts.gradcheck(lambda x: scaled(x).sum() + 1000.0, [np.array([1.0, 1.0])])


def test_a_result_too_large_to_move_is_refused():
    with pytest.raises(ValueError, match="rounding hides slopes up to"):
        ts.gradcheck(lambda x: (1e-3 * x).sum() + 1e15, [np.array([1.0, 1.0])])


def test_what_is_no_function_is_named():
    with pytest.raises(TypeError, match="gradcheck: function is 3"):
        ts.gradcheck(3, [np.ones(2)])


@pytest.mark.parametrize("use", [lambda grad: 1.0, lambda grad: grad**2, np.sign, np.abs])
def test_a_rule_of_a_single_number_has_to_use_its_grad(use, temporary_primitive):
    @ts.primitive
    def total(x):
        return (x * x).sum(), {"x": lambda grad: use(grad) * 2 * x}

    with pytest.raises(ts.GradcheckError):
        ts.gradcheck(total, np.array([1.0, -2.0]))


def test_a_rule_that_writes_into_its_grad_is_caught(temporary_primitive):
    @ts.primitive
    def double(x):
        return 2 * x, {"x": lambda grad: np.multiply(grad, 2, out=grad)}

    with pytest.raises(ValueError, match="read-only") as caught:
        ts.gradcheck(double, np.array([1.0, -2.0]))
    assert "double" in caught.value.__notes__[0]


def test_a_function_that_writes_into_its_argument_is_caught(temporary_primitive):
    @ts.primitive
    def double(x):
        x *= 2
        return x.copy(), {"x": lambda grad: 2 * grad}

    with pytest.raises(ValueError, match=r"function changed inputs\[1\] in place"):
        ts.gradcheck(lambda a, b: a * double(b), [np.ones(2), np.array([1.0, -2.0])])


def test_a_list_of_numbers_is_one_input_and_a_tuple_several():
    assert ts.gradcheck(lambda x: (x * x).sum(), [3.0, 2.0]).comparisons == 2
    report = ts.gradcheck(lambda a, b: a * b, (3.0, 2.0))
    assert report.comparisons == 2 and report.worst_element == ()
