"""Metrics against hand-computed numbers, slow loops and other formulas."""

import numpy as np
import pytest

from tinysmooth import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def one_hot(targets, num_classes):
    return np.eye(num_classes)[targets]


def test_accuracy_of_logits_equals_accuracy_of_their_argmax(rng):
    logits, targets = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    pairs = zip(logits.tolist(), targets, strict=True)
    right = sum(row.index(max(row)) == target for row, target in pairs)
    assert metrics.accuracy(logits, targets) == right / 50
    assert metrics.accuracy(logits.argmax(1), targets) == right / 50


def test_accuracy_takes_the_first_of_equal_logits():
    assert metrics.accuracy([[1.0, 1.0]], [0]) == 1.0


def test_negative_log_likelihood_is_the_reference_value_and_survives_huge_logits():
    logits = [[2.0, 1.0, 0.0, -1.0, 0.5]]
    expected = np.log(np.exp(logits[0]).sum()) - 2.0
    assert metrics.negative_log_likelihood(logits, [0]) == pytest.approx(expected, abs=1e-15)
    assert metrics.negative_log_likelihood([[1e4, 0.0]], [1]) == 1e4
    assert metrics.negative_log_likelihood(np.zeros((3, 10)), [0, 5, 9]) == pytest.approx(
        np.log(10)
    )


def test_negative_log_likelihood_ignores_a_shift_of_all_logits(rng):
    logits, targets = rng.normal(size=(20, 5)), rng.integers(0, 5, 20)
    plain = metrics.negative_log_likelihood(logits, targets)
    assert metrics.negative_log_likelihood(logits + 300.0, targets) == pytest.approx(plain)


def test_brier_score_is_the_squared_distance_to_the_one_hot_target(rng):
    probs, targets = rng.dirichlet(np.ones(6), 40), rng.integers(0, 6, 40)
    expected = np.mean(np.sum((probs - one_hot(targets, 6)) ** 2, axis=1))
    assert metrics.brier_score(probs, targets) == pytest.approx(expected, abs=1e-14)


def test_reliability_bins_are_closed_on_the_right():
    # With two bins, a confidence of exactly 0.5 belongs to the first.
    bins = metrics.reliability_bins([[0.5, 0.5], [0.5 + 1e-9, 0.5 - 1e-9]], [0, 0], num_bins=2)
    assert bins.counts.tolist() == [1, 1]
    top = metrics.reliability_bins([[1.0, 0.0]], [0])
    assert top.counts.tolist() == [0] * 14 + [1]


def test_every_bin_edge_falls_into_the_bin_below_it():
    edges = np.linspace(0, 1, 16)[8:]
    probs = np.stack([edges, 1 - edges], axis=1)
    counts = metrics.reliability_bins(probs, np.zeros(len(edges), int)).counts
    assert counts.tolist() == [0] * 7 + [1] * 8


def test_reliability_bins_equal_a_loop_over_the_definition(rng):
    probs, targets = rng.dirichlet(np.full(5, 0.3), 300), rng.integers(0, 5, 300)
    bins = metrics.reliability_bins(probs, targets)
    confidence, correct = probs.max(1), probs.argmax(1) == targets
    error = 0.0
    for low, high, count, mean, share in zip(
        bins.edges, bins.edges[1:], bins.counts, bins.confidence, bins.accuracy, strict=False
    ):
        inside = (confidence > low) & (confidence <= high)
        assert inside.sum() == count
        if count:
            assert mean == pytest.approx(confidence[inside].mean())
            assert share == pytest.approx(correct[inside].mean())
            error += count / 300 * abs(share - mean)
        else:
            assert np.isnan(mean) and np.isnan(share)
    assert metrics.expected_calibration_error(probs, targets) == pytest.approx(error)
    assert bins.overconfidence == pytest.approx(confidence.mean() - correct.mean())


def test_calibration_error_is_zero_for_a_calibrated_predictor():
    probs, targets = np.array([[0.7, 0.3]] * 10), np.array([0] * 7 + [1] * 3)
    assert metrics.expected_calibration_error(probs, targets) == pytest.approx(0, abs=1e-12)


def test_calibration_error_accepts_float32_probabilities(rng):
    logits = rng.normal(size=(64, 1000)).astype(np.float32)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert 0 <= metrics.expected_calibration_error(probs, rng.integers(0, 1000, 64)) <= 1


def test_logits_are_refused_where_probabilities_are_expected():
    with pytest.raises(ValueError, match=r"probs .* expected probabilities .* metrics\.softmax"):
        metrics.expected_calibration_error([[2.0, -1.0]], [0])
    with pytest.raises(ValueError, match="probs"):
        metrics.brier_score([[0.5, 0.6]], [0])


def test_mean_gap_is_the_smoothing_charge(rng):
    # z_y - mean(z) = (K - 1)/K * mean gap: the linear charge in L_smooth = CE + eps (z_y - mean z).
    logits, targets = rng.normal(size=(30, 7)), rng.integers(0, 7, 30)
    gaps = metrics.logit_gap(logits, targets, reduction="none")
    charge = logits[np.arange(30), targets] - logits.mean(axis=1)
    np.testing.assert_allclose(gaps * 6 / 7, charge, atol=1e-14)
    assert metrics.logit_gap(logits, targets) == pytest.approx(gaps.mean())


def test_logits_of_the_smoothed_target_rest_at_log_91():
    logits = np.log([[0.91] + [0.01] * 9])
    assert metrics.logit_gap(logits, [0]) == pytest.approx(np.log(91), abs=1e-12)
    assert metrics.logit_gap(logits, [0], against="top") == pytest.approx(np.log(91), abs=1e-12)


def test_top_gap_is_negative_exactly_for_mistakes(rng):
    logits, targets = rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    gaps = metrics.logit_gap(logits, targets, against="top", reduction="none")
    np.testing.assert_array_equal(gaps > 0, logits.argmax(1) == targets)


def test_logit_gap_does_not_change_its_input(rng):
    logits = rng.normal(size=(5, 3))
    before = logits.copy()
    metrics.logit_gap(logits, [0, 1, 2, 0, 1])
    metrics.logit_gap(logits, [0, 1, 2, 0, 1], against="top")
    np.testing.assert_array_equal(logits, before)


def test_confusion_matrix_counts_true_rows_and_predicted_columns(rng):
    predicted, targets = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    table = metrics.confusion_matrix(predicted, targets, num_classes=4)
    for true in range(4):
        for guess in range(4):
            assert table[true, guess] == np.sum((targets == true) & (predicted == guess))
    assert table.shape == (4, 4)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(one_hot(predicted, 3), targets), table[:3, :3]
    )


def test_temperature_fit_finds_the_factor_that_spoilt_the_logits(rng):
    probs = rng.dirichlet(np.ones(4), 4000)
    targets = np.array([rng.choice(4, p=row) for row in probs])
    fair = metrics.fit_temperature(np.log(probs), targets)
    assert fair == pytest.approx(1.0, abs=0.1)
    assert metrics.fit_temperature(3 * np.log(probs), targets) == pytest.approx(3 * fair, rel=1e-5)


def test_temperature_fit_is_a_minimum(rng):
    targets = rng.integers(0, 3, 100)
    logits = 3 * (rng.normal(size=(100, 3)) + one_hot(targets, 3))
    best = metrics.fit_temperature(logits, targets)
    loss = metrics.negative_log_likelihood(logits / best, targets)
    for other in (0.9 * best, 1.1 * best):
        assert metrics.negative_log_likelihood(logits / other, targets) > loss


def test_metrics_equal_torch(rng):
    torch = pytest.importorskip("torch")
    logits, targets = rng.normal(size=(40, 10)), rng.integers(0, 10, 40)
    theirs = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(targets))
    assert metrics.negative_log_likelihood(logits, targets) == pytest.approx(theirs.item())


GOOD = np.array([[0.2, 0.8], [0.6, 0.4]])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: metrics.accuracy(GOOD, [0, 2]), IndexError, r"targets\[1\] is 2; .* \[0, 2\)"),
        (lambda: metrics.accuracy(GOOD, [-1, 0]), IndexError, r"targets\[0\] is -1"),
        (lambda: metrics.accuracy(GOOD, [0.0, 1.0]), TypeError, "targets .* float64.* integer"),
        (lambda: metrics.accuracy(GOOD, [True, False]), TypeError, "targets .* bool.* integer"),
        (lambda: metrics.accuracy(GOOD, [0]), ValueError, r"targets .* \(1,\); .* \(2,\)"),
        (lambda: metrics.accuracy(np.zeros((0, 2)), []), ValueError, r"predictions .* \(0, 2\)"),
        (lambda: metrics.accuracy(["a", "b"], [0, 1]), TypeError, "predictions .* real numbers"),
        (lambda: metrics.negative_log_likelihood(GOOD[0], [0]), ValueError, r"logits .* \(N, K\)"),
        (
            lambda: metrics.negative_log_likelihood([[0.0, np.nan]], [0]),
            ValueError,
            "logits .* NaN or infinity in row 0; expected finite",
        ),
        (lambda: metrics.logit_gap([[1.0]], [0]), ValueError, r"logits .* \(1, 1\).* K >= 2"),
        (lambda: metrics.logit_gap(GOOD, [0, 1], against="all"), ValueError, "against is 'all'"),
        (lambda: metrics.logit_gap(GOOD, [0, 1], reduction="sum"), ValueError, "reduction .*'sum'"),
        (lambda: metrics.reliability_bins(GOOD, [0, 1], num_bins=0), ValueError, "num_bins is 0"),
        (lambda: metrics.reliability_bins(GOOD, [0, 1], num_bins=1.5), TypeError, "num_bins"),
        (
            lambda: metrics.confusion_matrix([0, 3], [0, 1], num_classes=3),
            IndexError,
            r"predictions\[1\] is 3",
        ),
        (
            lambda: metrics.confusion_matrix(GOOD, [0, 1], num_classes=3),
            ValueError,
            "num_classes is 3; expected 2",
        ),
        (lambda: metrics.fit_temperature(GOOD, [0, 1], low=2, high=1), ValueError, "low, high"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
