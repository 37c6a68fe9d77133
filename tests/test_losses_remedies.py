"""Penalties, noise corrections and temperature: values, gradients, where they come to rest."""

import math

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import metrics

RNG = np.random.default_rng(0)
Z, Y = RNG.standard_normal((6, 4)), RNG.integers(0, 4, 6)
NOISE = RNG.dirichlet(np.full(4, 0.5), 4) * 0.3 + 0.7 * np.eye(4)


def along(gap, size=10):
    z = np.zeros((1, size))
    z[0, 0] = gap
    return ts.Tensor(z, requires_grad=True)


def slope(penalty, gap):
    """Derivative of plain loss + penalty along the gap."""
    z = along(gap)
    (ts.cross_entropy(z, [0]) + penalty(z)).backward()
    return float(z.grad[0, 0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "function",
    [
        lambda z, r: ts.confidence_penalty(z, 0.7, reduction=r),
        lambda z, r: ts.logit_penalty(z, 0.7, reduction=r),
        lambda z, r: ts.forward_correction(z, Y, 0.3, reduction=r),
        lambda z, r: ts.forward_correction(z, Y, NOISE, reduction=r),
        lambda z, r: ts.backward_correction(z, Y, 0.3, reduction=r),
        lambda z, r: ts.backward_correction(z, Y, NOISE, reduction=r),
    ],
    ids=["confidence", "logits", "forward rate", "forward", "backward rate", "backward"],
)
def test_gradients_agree_with_finite_differences(function, reduction):
    ts.gradcheck(lambda z: function(z, reduction), [Z], tolerance=1e-7)


def test_penalties_of_pixels_are_those_of_rows():
    images = RNG.standard_normal((2, 4, 3))
    rows = np.moveaxis(images, 1, -1).reshape(-1, 4)
    for penalty in (ts.confidence_penalty, ts.logit_penalty):
        pixels = penalty(images, 0.1, reduction="none").data
        np.testing.assert_allclose(pixels.ravel(), penalty(rows, 0.1, reduction="none").data)
        ts.gradcheck(lambda z, p=penalty: p(z, 0.1), [images], tolerance=1e-7)


@pytest.mark.parametrize(("beta", "gap"), [(0.2, 5.238799), (0.5, 2.945944), (1.0, 2.101003)])
def test_the_confidence_penalty_rests_where_gap_times_p_is_one_over_beta(beta, gap):
    assert abs(slope(lambda z: ts.confidence_penalty(z, beta), gap)) < 1e-7
    p = math.exp(gap) / (math.exp(gap) + 9)
    assert gap * p == pytest.approx(1 / beta, rel=1e-6)


@pytest.mark.parametrize(("lam", "gap"), [(0.1, 3.132263), (0.01, 5.209293), (1e-3, 7.226114)])
def test_the_logit_penalty_rests_where_its_closed_form_says(lam, gap):
    # Among centred logits: the gap G is shared as G (K - 1)/K above and G/K below 0.
    z = np.full((1, 10), -gap / 10)
    z[0, 0] += gap
    tensor = ts.Tensor(z, requires_grad=True)
    (ts.cross_entropy(tensor, [0]) + ts.logit_penalty(tensor, lam)).backward()
    assert np.abs(tensor.grad).max() < 1e-7


def test_the_force_of_the_confidence_penalty_dies_and_that_of_smoothing_does_not():
    z = along(12.0)
    ts.confidence_penalty(z, 1.0).backward()
    assert z.grad[0, 0] - z.grad[0, 1] < 1e-3
    z = along(12.0)
    ts.cross_entropy(z, [0], label_smoothing=1.0).backward()
    assert z.grad[0, 0] - z.grad[0, 1] > 0.99


def test_the_confidence_penalty_of_certainty_is_zero_and_of_doubt_minus_log_k():
    assert ts.confidence_penalty([[1e4, 0.0, 0.0]], 1.0).item() == 0.0
    assert ts.confidence_penalty([[1.0, -np.inf]], 1.0).item() == 0.0
    assert ts.confidence_penalty(np.zeros((2, 8)), 2.0).item() == pytest.approx(-2 * math.log(8))


@pytest.mark.parametrize("noise", [0.0, 0.3, NOISE])
def test_backward_correction_is_unbiased(noise):
    matrix = noise if isinstance(noise, np.ndarray) else ts.smooth_targets(range(4), 4, noise)
    for true in range(4):
        row = Z[:1]
        mean = sum(
            matrix[true, seen] * ts.backward_correction(row, [seen], noise).item()
            for seen in range(4)
        )
        assert mean == pytest.approx(ts.cross_entropy(row, [true]).item(), rel=1e-12)


def test_backward_correction_of_symmetric_noise_is_negative_smoothing():
    rate = 0.3
    expected = ts.cross_entropy(Z, Y, label_smoothing=-rate / (1 - rate), allow_negative=True)
    assert ts.backward_correction(Z, Y, rate).item() == expected.item()
    matrix = ts.smooth_targets(np.arange(4), 4, rate)
    assert ts.backward_correction(Z, Y, matrix).item() == pytest.approx(expected.item(), rel=1e-13)


def test_backward_correction_is_unbounded_below():
    values = [ts.backward_correction([[gap, 0.0]], [0], 0.4).item() for gap in (10, 100, 1000)]
    assert values[2] < values[1] < values[0] < -1


@pytest.mark.parametrize("noise", [0.3, NOISE])
def test_forward_correction_is_the_loss_of_the_noisy_prediction(noise):
    matrix = noise if isinstance(noise, np.ndarray) else ts.smooth_targets(range(4), 4, noise)
    seen = ts.softmax(Z).data @ matrix
    expected = -np.log(seen[np.arange(6), Y])
    ours = ts.forward_correction(Z, Y, noise, reduction="none").data
    np.testing.assert_allclose(ours, expected, rtol=1e-13)


def test_without_noise_both_corrections_are_the_plain_loss():
    plain = ts.cross_entropy(Z, Y).item()
    assert ts.backward_correction(Z, Y, 0.0).item() == plain
    assert ts.forward_correction(Z, Y, 0.0).item() == pytest.approx(plain, rel=1e-14)
    assert ts.forward_correction([[1e3, 0.0]], [1], 0.0).item() == 1e3


def test_noise_twice_is_noise_once_at_the_composed_rate():
    both = ts.smooth_targets(range(5), 5, 0.1) @ ts.smooth_targets(range(5), 5, 0.3)
    np.testing.assert_allclose(both, ts.smooth_targets(range(5), 5, 0.37), rtol=1e-14)


def test_the_fitted_temperature_is_where_the_slope_of_the_loss_is_zero():
    z = 5 * RNG.standard_normal((400, 5))
    y = (z / 4 + RNG.gumbel(size=z.shape)).argmax(axis=1)
    best = metrics.fit_temperature(z, y)
    inverse = ts.Tensor(1 / best, requires_grad=True)
    ts.cross_entropy(inverse * z, y).backward()
    assert abs(inverse.grad) < 1e-5
    assert best == pytest.approx(4.0, rel=0.2)


BAD = [
    (lambda: ts.confidence_penalty(Z, -1.0), ValueError, "strength is -1"),
    (lambda: ts.logit_penalty(Z, math.nan), ValueError, "strength is nan"),
    (lambda: ts.logit_penalty(Z, 0.1, reduction="max"), ValueError, "reduction is 'max'"),
    (lambda: ts.confidence_penalty(Z.astype(np.float16), 0.1), TypeError, "float16"),
    (lambda: ts.forward_correction(Z, Y, 1.5), ValueError, r"noise is 1\.5.*\[0, 1\]"),
    (lambda: ts.backward_correction(Z, Y, 1.0), ValueError, r"noise is 1; .*\[0, 1\)"),
    (lambda: ts.forward_correction(Z, Y, np.eye(3)), ValueError, r"noise has shape \(3, 3\)"),
    (lambda: ts.forward_correction(Z, Y, np.ones((4, 4))), ValueError, "no distributions"),
    (lambda: ts.backward_correction(Z, Y, np.full((4, 4), 0.25)), ValueError, "no inverse"),
    (lambda: ts.forward_correction(Z, Y + 4, 0.1), IndexError, "expected a class index"),
    (lambda: ts.backward_correction(Z, Y / 2, 0.1), TypeError, "targets has dtype float64"),
]


@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_bad_input_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_a_noise_matrix_that_only_rounding_makes_invertible_is_refused():
    noise = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9.0]])
    noise /= noise.sum(axis=1, keepdims=True)
    with pytest.raises(ValueError, match="no inverse"):
        ts.backward_correction([[0.0, 1, 2]], [0], noise)
