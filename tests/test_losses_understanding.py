"""The floor of the loss, the resting gap, the parts of a loss."""

import math

import numpy as np
import pytest

import tinysmooth as ts

# K, eps, resting gap, floor, plain loss at the optimum
TABLE = [
    (2, 0.1, 2.944438979, 0.198515243, 0.051293294),
    (5, 0.1, 3.828641396, 0.389672921, 0.083381609),
    (10, 0.05, 5.252273428, 0.282396243, 0.046043939),
    (10, 0.1, 4.510859507, 0.500288035, 0.094310679),
    (10, 0.2, 3.713572067, 0.866893911, 0.198450939),
    (100, 0.1, 6.803505258, 0.777797042, 0.104250021),
    (1000, 0.1, 9.105090961, 1.014847998, 0.105249411),
]


@pytest.mark.parametrize(("classes", "eps", "gap", "floor", "plain"), TABLE)
def test_at_the_resting_gap_the_loss_is_its_floor_and_the_slope_zero(
    classes, eps, gap, floor, plain
):
    assert ts.resting_gap(classes, eps) == pytest.approx(gap, abs=1e-9)
    assert ts.loss_floor(classes, eps) == pytest.approx(floor, abs=1e-9)
    z = np.zeros((1, classes))
    z[0, 0] = ts.resting_gap(classes, eps)
    loss = ts.cross_entropy(z, [0], label_smoothing=eps).item()
    assert loss == pytest.approx(floor, abs=1e-9)
    assert np.abs(ts.cross_entropy_gradient(z, [0], label_smoothing=eps)).max() < 1e-14
    parts = ts.decompose_loss(z, [0], eps)
    assert parts.cross_entropy == pytest.approx(plain, abs=1e-9)
    assert 0 <= parts.kl < 1e-15


def test_the_ends_of_the_range_of_eps():
    assert ts.loss_floor(10, 0.0) == 0.0
    assert ts.loss_floor(10, 1.0) == pytest.approx(math.log(10), abs=1e-15)
    assert ts.resting_gap(10, 0.0) == math.inf
    assert ts.resting_gap(10, 1.0) == 0.0


def test_one_class_has_a_floor_of_zero_and_no_gap():
    assert ts.loss_floor(1, 0.1) == 0.0
    with pytest.raises(ValueError, match=r"resting_gap: num_classes is 1; expected at least 2"):
        ts.resting_gap(1, 0.1)


def test_a_tiny_eps_is_not_rounded_away():
    eps = 1e-18
    assert ts.loss_floor(10, eps) == pytest.approx(0.9 * eps * (1 - math.log(eps / 10)), rel=1e-12)


def test_with_a_prior_each_true_class_has_its_own_gaps_and_floor():
    prior = np.array([0.5, 0.3, 0.2])
    gaps, floors = ts.resting_gap(3, 0.1, prior=prior), ts.loss_floor(3, 0.1, prior=prior)
    np.testing.assert_allclose(gaps[1], [2.923162, 0.0, 3.839452], atol=1e-6)
    for y in range(3):
        z, q = -gaps[y][None], ts.smooth_targets([y], 3, 0.1, prior=prior)
        assert np.abs(ts.cross_entropy_gradient(z, q)).max() < 1e-15
        assert ts.cross_entropy(z, q).item() == pytest.approx(floors[y], rel=1e-14)
    uniform = np.full(4, 0.25)
    np.testing.assert_allclose(ts.loss_floor(4, 0.1, prior=uniform), ts.loss_floor(4, 0.1))
    gaps = ts.resting_gap(4, 0.1, prior=uniform)
    np.testing.assert_allclose(gaps[~np.eye(4, dtype=bool)], ts.resting_gap(4, 0.1))


def test_a_class_without_prior_is_pushed_away_for_ever():
    gaps = ts.resting_gap(2, 0.1, prior=[1.0, 0.0])
    np.testing.assert_allclose(gaps, [[0.0, np.inf], [math.log(9), 0.0]], rtol=1e-15)


@pytest.mark.parametrize("prior", [None, [0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 0.0]])
@pytest.mark.parametrize("eps", [0.0, 0.1, 1.0])
def test_the_parts_add_up_in_three_ways(prior, eps):
    rng = np.random.default_rng(0)
    z, y = 3 * rng.standard_normal((8, 4, 2)), rng.integers(0, 4, (8, 2))
    parts = ts.decompose_loss(z, y, eps, prior=prior)
    q = np.moveaxis(ts.smooth_targets(y, 4, eps, prior=prior), -1, 1)
    assert parts.total == pytest.approx(ts.cross_entropy(z, q).item(), rel=1e-14)
    assert parts.hard + parts.uniform == pytest.approx(parts.total, rel=1e-14)
    assert parts.entropy + parts.kl == pytest.approx(parts.total, rel=1e-14)
    assert parts.cross_entropy + parts.gap_charge == pytest.approx(parts.total, rel=1e-14)


def test_without_smoothing_everything_is_the_hard_part():
    parts = ts.decompose_loss([[2.0, 1.0, -1.0]], [1], 0.0)
    assert parts.hard == parts.total == parts.cross_entropy
    assert parts.kl == pytest.approx(parts.total, rel=1e-15)
    assert parts.uniform == parts.entropy == parts.gap_charge == 0.0


def test_one_class_and_no_rows():
    parts = ts.decompose_loss([[3.0]], [0], 0.1)
    assert parts.total == parts.hard == parts.kl == parts.entropy == 0.0
    assert math.isnan(ts.decompose_loss(np.empty((0, 3)), [], 0.1).total)


def test_a_mask_costs_infinity_only_where_smoothing_asks_for_it():
    masked = [[1.0, 2.0, -np.inf]]
    assert ts.decompose_loss(masked, [0], 0.0).total == pytest.approx(1.313261687518)
    parts = ts.decompose_loss(masked, [0], 0.1)
    assert parts.total == parts.uniform == parts.kl == parts.gap_charge == math.inf
    assert ts.decompose_loss(masked, [0], 0.1, prior=[0.5, 0.5, 0.0]).total < 2


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: ts.loss_floor(0, 0.1), ValueError, "loss_floor: num_classes is 0"),
        (lambda: ts.loss_floor(10, 1.5), ValueError, r"loss_floor: label_smoothing is 1\.5"),
        (lambda: ts.resting_gap(2.5, 0.1), TypeError, r"resting_gap: num_classes is 2\.5"),
        (lambda: ts.resting_gap(3, 0.1, prior=[1, 1, 1]), ValueError, "prior has a sum of 3"),
        (lambda: ts.decompose_loss(np.eye(2), [0, 2], 0.1), IndexError, "targets is 2 in row 1"),
        (lambda: ts.decompose_loss(np.eye(2), [0], 0.1), ValueError, r"expected \(2,\)"),
        (lambda: ts.decompose_loss(np.eye(2), [0.5, 0], 0.1), TypeError, "float64"),
    ],
)
def test_bad_input_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize("eps", [1e-320, 1e-310, 1e-300, 1e-10])
def test_the_resting_gap_is_finite_for_every_smoothing(eps):
    assert ts.resting_gap(10, eps) == pytest.approx(math.log(10) - math.log(eps), rel=1e-10)
