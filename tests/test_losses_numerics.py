"""What floating point does to softmax, gradients and gradient checks; and the bugs of others."""

import math

import numpy as np
import pytest

import tinysmooth as ts

REFERENCE = np.array([[2.0, 1.0, 0.0, -1.0, 0.5]])

# ---- Softmax -------------------------------------------------------------------------------------


def naive_softmax(z):
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(z)
        return e / e.sum(axis=1, keepdims=True)


def division_free_softmax(z):
    m = z.max(axis=1, keepdims=True)
    return np.exp(z - (m + np.log(np.exp(z - m).sum(axis=1, keepdims=True))))


def relative_error(function, z):
    wide = z.astype(np.float64)
    e = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact = e / e.sum(axis=1, keepdims=True)
    errors = np.abs(function(z) - exact) / exact
    return float(errors[exact > 1e-37].max())  # below, float32 itself runs out of digits


def ours(z):
    return ts.softmax(z).data


def drawn(shift=0.0, scale=1.0):
    z = np.random.default_rng(0).standard_normal((200, 10))
    return (scale * z + shift).astype(np.float32)


@pytest.mark.parametrize("kernels", ["compiled", "reference"])
@pytest.mark.parametrize("shift", [0.0, 50.0, 80.0, 100.0, 1e3, 1e4, -200.0])
def test_softmax_does_not_notice_a_shift(shift, kernels):
    with ts.use_kernels(kernels):
        assert relative_error(ours, drawn(shift)) < 4e-7


@pytest.mark.parametrize("kernels", ["compiled", "reference"])
def test_softmax_of_logits_far_apart_loses_nothing(kernels):
    with ts.use_kernels(kernels):
        assert relative_error(ours, drawn(scale=20.0)) < 4e-7


def test_naive_softmax_is_as_good_until_it_overflows():
    assert relative_error(naive_softmax, drawn(80.0)) < 5e-7
    assert np.isnan(naive_softmax(drawn(100.0))).any()
    assert np.isnan(naive_softmax(np.full((1, 3), -200.0, np.float32))).all()


def test_division_free_softmax_loses_the_size_of_the_shift():
    assert relative_error(division_free_softmax, drawn(1e3)) > 1e-5
    assert relative_error(division_free_softmax, drawn(1e4)) > 1e-4


def test_log_sum_exp_of_very_negative_logits():
    z = np.full(3, -200.0, np.float32)
    with np.errstate(divide="ignore"):
        assert np.log(np.exp(z).sum()) == -np.inf
    assert ts.logsumexp(z).item() == pytest.approx(-198.9014, abs=1e-4)
    np.testing.assert_allclose(ts.softmax(z).data, 1 / 3, rtol=1e-7)


def test_log_softmax_of_a_hopeless_class_is_its_gap():
    z = np.array([104.5, 0.0], np.float32)
    assert ts.softmax(z).data[1] == 0.0
    assert ts.log_softmax(z).data[1] == np.float32(-104.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_sum_exp_is_between_the_maximum_and_the_maximum_plus_log_k(dtype):
    z = (10 * np.random.default_rng(1).standard_normal((100, 7))).astype(dtype)
    out = ts.logsumexp(z).data
    assert (out >= z.max(axis=1)).all()
    assert (out <= (z.max(axis=1) + math.log(7)) * (1 + np.finfo(dtype).eps)).all()


def test_infinities_in_log_sum_exp():
    rows = np.array([[-np.inf, -np.inf], [np.inf, 0.0], [-np.inf, 3.0], [np.nan, 0.0]])
    np.testing.assert_array_equal(ts.logsumexp(rows).data, [-np.inf, np.inf, 3.0, np.nan])


@pytest.mark.parametrize("function", [ts.softmax, ts.log_softmax, ts.logsumexp])
def test_bad_arguments_of_the_softmax_family_are_refused(function):
    name = function.__name__
    with pytest.raises(ValueError, match=rf"{name}: axis is 2; expected an axis in \[-2, 2\)"):
        function(np.zeros((2, 3)), axis=2)
    with pytest.raises(TypeError, match=rf"{name}: axis is 0\.5"):
        function(np.zeros((2, 3)), axis=0.5)
    with pytest.raises(ValueError, match=rf"{name}: x has shape \(2, 0\)"):
        function(np.zeros((2, 0)))
    with pytest.raises(TypeError, match=rf"{name}: x has dtype float16"):
        function(np.zeros((2, 3), np.float16))
    with pytest.raises(ValueError, match=rf"{name}: axis is -1; expected no axis"):
        function(np.array(1.0))
    assert function(np.zeros((0, 3))).shape[0] == 0


# ---- Gradient checks -----------------------------------------------------------------------------

EPS = 0.1


def smoothed_loss(z):
    return float(ts.cross_entropy(z, [0], label_smoothing=EPS).data)


def numerical_gradient(z, step, central=True):
    slopes = np.empty_like(z)
    for k in range(z.shape[1]):
        above, below = z.copy(), z.copy()
        above[0, k] += step
        if central:
            below[0, k] -= step
        realised = above[0, k] - below[0, k]
        slopes[0, k] = (smoothed_loss(above) - smoothed_loss(below)) / realised
    return slopes


def distance(a, b):
    return float(np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)))


def analytic(z):
    return ts.cross_entropy_gradient(z, [0], label_smoothing=EPS)


def test_central_differences_gain_four_and_forward_two_when_the_step_is_halved():
    for central, gain, slack in ((True, 4.0, 0.02), (False, 2.0, 0.02)):
        errors = [
            distance(numerical_gradient(REFERENCE, step, central), analytic(REFERENCE))
            for step in (0.02, 0.01, 0.005)
        ]
        assert errors[0] / errors[1] == pytest.approx(gain, abs=slack)
        assert errors[1] / errors[2] == pytest.approx(gain, abs=slack)


def test_analytic_gradient_agrees_with_central_differences_at_the_best_step():
    assert distance(numerical_gradient(REFERENCE, 1e-5), analytic(REFERENCE)) < 1e-9
    ts.gradcheck(lambda z: ts.cross_entropy(z, [0], label_smoothing=EPS), [REFERENCE])


# Three plausible bugs of the gradient, for one row: y = 0.


def wrong_share(z):
    """Spreads eps over the wrong classes only, but keeps 1 - eps + eps/K on the true one."""
    size = z.shape[1]
    target = np.full(size, EPS / (size - 1))
    target[0] = 1 - EPS + EPS / size
    return ts.softmax(z).data - target


def forgotten_share_of_the_true_class(z):
    target = np.full(z.shape[1], EPS / z.shape[1])
    target[0] = 1 - EPS
    return ts.softmax(z).data - target


def no_smoothing(z):
    return ts.softmax(z).data - np.eye(z.shape[1])[0]


BUGS = [wrong_share, forgotten_share_of_the_true_class, no_smoothing]


def test_our_tolerance_catches_three_plausible_bugs_and_a_lax_one_passes_two():
    z = np.random.default_rng(3).standard_normal((1, 10))
    truth = numerical_gradient(z, 1e-5)
    errors = [distance(bug(z), truth) for bug in BUGS]
    assert distance(analytic(z), truth) < 1e-7
    assert all(error > 1e-3 for error in errors)
    assert [error < 1e-2 for error in errors] == [True, True, False]


# ---- Gallery of wrong losses found in public code ------------------------------------------------
# Each is a function of logits (N, K) and targets that returns the mean loss.


def log_p(z):
    return ts.log_softmax(z).data


def true_term(z, y):
    return -log_p(z)[np.arange(len(y)), y]


def forgot_to_take_the_share_from_the_true_class(z, y):
    share = EPS / (z.shape[1] - 1)
    return ((1 - EPS) * true_term(z, y) - share * log_p(z).sum(axis=1)).mean()


def constant_of_the_other_definition(z, y):
    size = z.shape[1]
    right = float(ts.cross_entropy(z, y, label_smoothing=EPS).data)
    entropy = -(1 - EPS) * math.log(1 - EPS) - EPS * math.log(EPS / (size - 1))
    return right - entropy


def true_mass_as_the_wrong_mass(z, y):
    share = (1 - EPS) / z.shape[1]
    return ((1 - EPS) * true_term(z, y) - share * log_p(z).sum(axis=1)).mean()


def softmax_twice(z, y):
    return float(ts.cross_entropy(ts.softmax(z), y).data)


def target_mass(loss, size=10):
    """Sum of the target that a loss uses: minus the slope of loss - log-sum-exp along a shift.

    The loss is -sum q log p. Where all p are 1/K it is sum(q) log K.
    """
    return loss(np.zeros((1, size)), np.array([0])) / math.log(size)


def smallest_value(loss, size=10):
    """Least value along z = G e_y, where the smoothed optimum lies."""
    gaps = np.linspace(0, 12, 2401)
    return min(loss(np.eye(size)[:1] * gap, np.array([0])) for gap in gaps)


def ours_loss(z, y):
    return float(ts.cross_entropy(z, y, label_smoothing=EPS).data)


def test_the_right_loss_has_mass_one_and_its_entropy_as_minimum():
    assert target_mass(ours_loss) == pytest.approx(1.0, abs=1e-12)
    assert smallest_value(ours_loss) == pytest.approx(ts.loss_floor(10, EPS), abs=1e-6)


def test_a_share_added_but_not_taken_away_is_no_distribution():
    mass = target_mass(forgot_to_take_the_share_from_the_true_class)
    assert mass == pytest.approx(1 + EPS / 9, abs=1e-9), "the target must add up to 1"
    p_y = (1 - EPS + EPS / 9) / mass
    assert p_y == pytest.approx(0.9011, abs=1e-4), "so the optimum is not 0.91"


def test_the_entropy_of_the_other_definition_makes_the_loss_negative():
    floor = smallest_value(constant_of_the_other_definition)
    assert floor == pytest.approx(-0.0445, abs=1e-4), "a cross-entropy minus its floor is >= 0"


def test_one_minus_eps_over_k_on_every_class_is_far_off():
    wrong = true_mass_as_the_wrong_mass(REFERENCE, np.array([0]))
    assert wrong == pytest.approx(2.384, abs=1e-3), "the reference value is 0.7244"
    assert target_mass(true_mass_as_the_wrong_mass) > 1.7, "the target must add up to 1"


def test_softmax_twice_cannot_get_below_a_high_floor():
    confident = np.eye(10)[:1] * 1e3
    floor = softmax_twice(confident, np.array([0]))
    assert floor == pytest.approx(1.46115, abs=1e-5), "probabilities as logits: the gap is <= 1"
    assert math.exp(-floor) == pytest.approx(math.e / (math.e + 9))
    assert float(ts.cross_entropy(confident, [0]).data) == 0.0


def test_targets_of_an_ignored_class_have_a_gradient_of_zero_at_infinite_logits():
    q = ts.Tensor([[1.0, 0.0]], requires_grad=True)
    ts.cross_entropy([[0.0, -np.inf]], q, weight=[1.0, 0.0]).backward()
    assert q.grad.tolist() == [[0.0, 0.0]]


def test_the_floor_of_the_least_smoothing_there_is():
    assert ts.loss_floor(10, 5e-324) == 0.0 or 0 < ts.loss_floor(10, 5e-324) < 1e-300
