"""Smoothed targets in three definitions, conversions, mixup."""

import itertools
import math

import numpy as np
import pytest

import tinysmooth as ts


def test_the_row_of_the_fastai_book():
    row = [0.01, 0.01, 0.01, 0.91, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]
    np.testing.assert_allclose(ts.smooth_targets([3], 10, 0.1), [row], rtol=1e-15)


@pytest.mark.parametrize("options", [{}, {"variant": "others"}, {"prior": [0.5, 0.3, 0.2]}])
@pytest.mark.parametrize("eps", [0.0, 0.1, 1.0])
def test_rows_are_distributions_in_every_definition(options, eps):
    rows = ts.smooth_targets([[0, 1], [2, 2]], 3, eps, **options)
    assert rows.shape == (2, 2, 3) and rows.dtype == np.float64
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=-1), 1.0, rtol=1e-15)


def test_the_definitions_say_what_their_names_say():
    np.testing.assert_allclose(ts.smooth_targets(1, 4, 0.2), [0.05, 0.85, 0.05, 0.05])
    others = ts.smooth_targets(1, 4, 0.3, variant="others")
    np.testing.assert_allclose(others, [0.1, 0.7, 0.1, 0.1])
    prior = ts.smooth_targets(1, 3, 0.1, prior=[0.5, 0.3, 0.2])
    np.testing.assert_allclose(prior, [0.05, 0.93, 0.02])
    uniform = ts.smooth_targets(1, 4, 0.2, prior=np.full(4, 0.25))
    np.testing.assert_array_equal(uniform, ts.smooth_targets(1, 4, 0.2))


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.1, 0.5])
def test_targets_are_equal_after_conversion_both_ways(classes, eps):
    convert = ts.equivalent_label_smoothing
    there = convert(eps, classes, source="others", target="all")
    np.testing.assert_allclose(
        ts.smooth_targets(0, classes, there),
        ts.smooth_targets(0, classes, eps, variant="others"),
        rtol=1e-13,
    )
    assert convert(there, classes, source="all", target="others") == pytest.approx(eps, abs=1e-15)
    assert convert(eps, classes, source="all", target="all") == eps


def test_a_converted_loss_equals_the_other_definition_written_out():
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((5, 10)), rng.integers(0, 10, 5)
    share = 0.1 / 9
    log_p = ts.log_softmax(z).data
    fairseq = (1 - 0.1 - share) * -log_p[np.arange(5), y] - share * log_p.sum(axis=1)
    eps = ts.equivalent_label_smoothing(0.1, 10, source="others", target="all")
    assert eps == pytest.approx(1 / 9)
    ours = ts.cross_entropy(z, y, label_smoothing=eps, reduction="none").data
    np.testing.assert_allclose(ours, fairseq, rtol=1e-13)
    assert ts.resting_gap(10, eps) == pytest.approx(math.log(81), abs=1e-12)


def test_one_class_is_its_own_target_and_has_no_others():
    np.testing.assert_array_equal(ts.smooth_targets([0, 0], 1, 0.1), [[1.0], [1.0]])
    with pytest.raises(ValueError, match=r"num_classes is 1; expected at least 2"):
        ts.smooth_targets([0], 1, 0.1, variant="others")
    with pytest.raises(ValueError, match=r"num_classes is 1; expected at least 2"):
        ts.equivalent_label_smoothing(0.1, 1, source="all", target="others")


def test_negative_smoothing_is_the_inverse_of_the_noise_matrix():
    rate = 0.3
    noise = ts.smooth_targets(np.arange(5), 5, rate)
    undo = ts.smooth_targets(np.arange(5), 5, -rate / (1 - rate), allow_negative=True)
    np.testing.assert_allclose(noise @ undo, np.eye(5), rtol=0, atol=1e-15)


def test_mixup_targets_mix_and_the_loss_mixes_with_them():
    rng = np.random.default_rng(1)
    z, a, b = rng.standard_normal((6, 4)), rng.integers(0, 4, 6), rng.integers(0, 4, 6)
    mixing = rng.beta(0.2, 0.2, 6)
    targets = ts.mixup_targets(a, b, mixing, 4, 0.1)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-15)

    def each(y):
        return ts.cross_entropy(z, y, label_smoothing=0.1, reduction="none").data

    mixed = ts.cross_entropy(z, targets, reduction="none").data
    np.testing.assert_allclose(mixed, mixing * each(a) + (1 - mixing) * each(b), rtol=1e-13)


@pytest.mark.parametrize(
    ("alpha", "eps"), [(0.1, 0.0584), (0.2, 0.1012), (0.4, 0.1602), (1.0, 0.25), (2.0, 0.3125)]
)
def test_mixup_amounts_to_a_known_smoothing(alpha, eps):
    assert ts.mixup_label_smoothing(alpha) == pytest.approx(eps, abs=5e-5)
    shares = np.random.default_rng(2).beta(alpha, alpha, 200_000)
    drawn = 1 - np.maximum(shares, 1 - shares).mean()
    assert ts.mixup_label_smoothing(alpha) == pytest.approx(drawn, abs=0.002)


BAD = [
    (TypeError, "targets has dtype float64.*0.9", lambda: ts.smooth_targets([0.9], 3, 0.1)),
    (TypeError, "targets has dtype bool", lambda: ts.smooth_targets([True], 3, 0.1)),
    (IndexError, "targets is -1 in row 1", lambda: ts.smooth_targets([0, -1], 3, 0.1)),
    (IndexError, r"targets is 3; .*\[0, 3\)", lambda: ts.smooth_targets(3, 3, 0.1)),
    (ValueError, "num_classes is 0", lambda: ts.smooth_targets([0], 0, 0.1)),
    (TypeError, "num_classes is 3.0", lambda: ts.smooth_targets([0], 3.0, 0.1)),
    (ValueError, "label_smoothing is -0.1", lambda: ts.smooth_targets([0], 3, -0.1)),
    (ValueError, "variant is 'some'", lambda: ts.smooth_targets([0], 3, 0.1, variant="some")),
    (ValueError, r"prior has shape \(2,\)", lambda: ts.smooth_targets(0, 3, 0.1, prior=[1, 0])),
    (ValueError, "prior has a sum of 1.2", lambda: ts.smooth_targets(0, 2, 0.1, prior=[1, 0.2])),
    (
        ValueError,
        "prior came with variant='others'",
        lambda: ts.smooth_targets(0, 2, 0.1, variant="others", prior=[1, 0]),
    ),
    (
        ValueError,
        r"label_smoothing is 0\.95; expected at most .* 0\.9",
        lambda: ts.equivalent_label_smoothing(0.95, 10, source="others", target="all"),
    ),
    (
        ValueError,
        "source is 'pytorch'",
        lambda: ts.equivalent_label_smoothing(0.1, 10, source="pytorch", target="all"),
    ),
    (ValueError, "mixing has values outside", lambda: ts.mixup_targets([0], [1], 1.5, 3)),
    (ValueError, r"mixing has shape \(2,\)", lambda: ts.mixup_targets([0], [1], [0.1, 0.2], 3)),
    (ValueError, r"partners has shape \(2,\)", lambda: ts.mixup_targets([0], [1, 1], 0.5, 3)),
    (IndexError, "partners is 7 in row 0", lambda: ts.mixup_targets([0], [7], 0.5, 3)),
    (ValueError, "alpha is 0; expected", lambda: ts.mixup_label_smoothing(0.0)),
]


@pytest.mark.parametrize(("kind", "words", "call"), BAD)
def test_bad_input_is_refused(kind, words, call):
    with pytest.raises(kind, match=words):
        call()


def test_the_mass_that_mixup_takes_is_known_for_every_alpha():
    values = [ts.mixup_label_smoothing(alpha) for alpha in np.logspace(-3, 300, 400)]
    assert all(0 < low < high <= 0.5 or high == low for low, high in itertools.pairwise(values))
    below, above = (ts.mixup_label_smoothing(1e7 * factor) for factor in (1 - 1e-12, 1 + 1e-12))
    assert abs(below - above) < 1e-9  # the limit meets the closed form


def test_one_class_has_no_others_to_convert_between():
    with pytest.raises(ValueError, match="num_classes is 1"):
        ts.equivalent_label_smoothing(0.1, 1, source="others", target="others")
