"""The loss itself: values, gradients, semantics row by row, accuracy beyond rounding, errors."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tinysmooth as ts

REFERENCE = [2.0, 1.0, 0.0, -1.0, 0.5]
INF, NAN = math.inf, math.nan
FROZEN = json.loads((Path(__file__).parent / "frozen" / "cross_entropy.json").read_text())["cases"]


@pytest.fixture(params=["compiled", "reference"], autouse=True)
def kernels(request):
    with ts.use_kernels(request.param):
        yield request.param


def loss(logits, targets, **options):
    return ts.cross_entropy(np.asarray(logits), targets, **options).data


def gradient(logits, targets, **options):
    return ts.cross_entropy_gradient(np.asarray(logits), targets, **options)


# ---- Values --------------------------------------------------------------------------------------


def test_reference_value_of_the_paper_formula():
    assert loss(REFERENCE, 0, label_smoothing=0.1) == pytest.approx(0.7244379396277962, abs=1e-15)


def test_loss_of_logits_without_preference_is_log_k_for_every_smoothing():
    for eps in (0.0, 0.1, 1.0):
        assert loss(np.zeros((3, 7)), [0, 3, 6], label_smoothing=eps) == pytest.approx(math.log(7))


@pytest.mark.parametrize("case", FROZEN, ids=lambda case: f"{case['kind']}-{case['reduction']}")
def test_value_and_gradient_equal_what_pytorch_answered(case):
    targets = np.array(case["targets"])
    options = {"label_smoothing": case["eps"], "reduction": case["reduction"]}
    options["weight"] = case.get("weight")
    logits = np.array(case["logits"])
    np.testing.assert_allclose(loss(logits, targets, **options), case["value"], 1e-13, 1e-14)
    np.testing.assert_allclose(gradient(logits, targets, **options), case["gradient"], 0, 1e-14)


def test_five_forms_of_the_smoothed_loss_agree():
    rng = np.random.default_rng(0)
    z, eps = 3 * rng.standard_normal((20, 6)), 0.3
    y = rng.integers(0, 6, 20)
    rows = np.arange(20)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    q = ts.smooth_targets(y, 6, eps)
    forms = [
        -(q * log_p).sum(1),
        (1 - eps) * -log_p[rows, y] + eps * -log_p.mean(1),
        -log_p[rows, y] + eps * (z[rows, y] - z.mean(1)),
        -(q * np.log(q)).sum(1) + (q * (np.log(q) - log_p)).sum(1),
    ]
    ours = loss(z, y, label_smoothing=eps, reduction="none")
    for form in forms:
        np.testing.assert_allclose(ours, form, 1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_smoothing_it_is_minus_log_softmax_bit_for_bit(dtype):
    rng = np.random.default_rng(1)
    z = (4 * rng.standard_normal((50, 23))).astype(dtype)
    y = rng.integers(0, 23, 50)
    plain = -ts.log_softmax(z).data[np.arange(50), y]
    np.testing.assert_array_equal(loss(z, y, label_smoothing=0.0, reduction="none"), plain)
    np.testing.assert_array_equal(gradient(z, y, label_smoothing=0.0), gradient(z, y))


def test_integer_targets_and_their_smoothed_distributions_give_the_same():
    rng = np.random.default_rng(2)
    z, y = rng.standard_normal((9, 4)), rng.integers(0, 4, 9)
    q = ts.smooth_targets(y, 4, 0.2)
    np.testing.assert_allclose(loss(z, y, label_smoothing=0.2), loss(z, q), 1e-14)
    np.testing.assert_allclose(gradient(z, y, label_smoothing=0.2), gradient(z, q), 0, 1e-16)


@pytest.mark.parametrize("eps", [0.0, 0.1, 1.0])
def test_gradient_rows_add_up_to_zero_and_keep_their_bounds(eps):
    rng = np.random.default_rng(3)
    z, y = 10 * rng.standard_normal((100, 5)), rng.integers(0, 5, 100)
    g = gradient(z, y, label_smoothing=eps, reduction="sum")
    assert np.abs(g.sum(axis=1)).max() < 1e-15
    assert np.abs(g).max() <= 1 - eps / 5 + 1e-12
    assert np.abs(g).sum(axis=1).max() <= 2 * (1 - eps / 5) + 1e-12
    assert np.sqrt((g**2).sum(axis=1)).max() <= math.sqrt(2) + 1e-12


def test_gradient_of_the_weighted_mean_is_mass_times_p_minus_weighted_target():
    rng = np.random.default_rng(4)
    z, y, w = rng.standard_normal((6, 4)), rng.integers(0, 4, 6), rng.uniform(0.5, 2, 4)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    wq = w * ts.smooth_targets(y, 4, 0.1)
    expected = (wq.sum(1, keepdims=True) * p - wq) / w[y].sum()
    np.testing.assert_allclose(
        gradient(z, y, label_smoothing=0.1, weight=w), expected, rtol=0, atol=1e-16
    )


def test_weighted_mean_divides_by_true_class_weights_or_by_rows_for_probabilities():
    z, y, w = np.zeros((4, 2)), np.array([0, 0, 0, 1]), np.array([1.0, 5.0])
    total = loss(z, y, weight=w, reduction="sum")
    assert loss(z, y, weight=w) == pytest.approx(total / 8)
    assert loss(z, np.eye(2)[y], weight=w) == pytest.approx(total / 4)


def test_a_weight_ratio_of_91_ties_the_rare_class_with_the_true_one():
    for ratio, winner in ((90.0, 0), (92.0, 9)):
        w = np.ones(10)
        w[9] = ratio
        optimum = np.log(w * ts.smooth_targets(0, 10, 0.1))
        assert np.abs(gradient(optimum, 0, label_smoothing=0.1, weight=w)).max() < 1e-14
        assert optimum.argmax() == winner


# ---- Layouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["F", "strided", "reversed", "read-only", "unaligned"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_order_of_logits_and_targets_does_not_matter(order, dtype):
    rng = np.random.default_rng(5)
    z, y = rng.standard_normal((6, 5)).astype(dtype), rng.integers(0, 5, 6)
    if order == "F":
        other, classes = np.asfortranarray(z), y
    elif order == "strided":
        other, classes = np.repeat(np.repeat(z, 2, 0), 3, 1)[::2, ::3], np.repeat(y, 2)[::2]
    elif order == "reversed":
        other, classes = z[::-1].copy()[::-1], y[::-1].copy()[::-1]
    elif order == "unaligned":
        raw = np.empty(z.nbytes + 1, np.uint8)[1:]
        other, classes = raw.view(dtype).reshape(z.shape), y
        other[...] = z
    else:
        other, classes = z.copy(), y.copy()
        other.flags.writeable = classes.flags.writeable = False
    before = z.copy()
    np.testing.assert_array_equal(loss(other, classes), loss(z, y))
    np.testing.assert_array_equal(gradient(other, classes), gradient(z, y))
    np.testing.assert_array_equal(z, before)


def test_pixels_are_rows_in_channels_first_and_channels_last_memory():
    rng = np.random.default_rng(6)
    z, y = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    rows = np.moveaxis(z, 1, -1).reshape(-1, 3)
    flat = loss(rows, y.ravel(), label_smoothing=0.1, reduction="none").reshape(2, 4, 5)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(z, 1, -1)), -1, 1)
    for images in (z, last):
        values = loss(images, y, label_smoothing=0.1, reduction="none")
        np.testing.assert_array_equal(values, flat)
        tensor = ts.Tensor(images, requires_grad=True)
        ts.cross_entropy(tensor, y, label_smoothing=0.1).backward()
        np.testing.assert_array_equal(tensor.grad, gradient(z, y, label_smoothing=0.1))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_every_integer_dtype_of_targets_is_accepted(kind):
    y = np.array([2, 0, 1], kind)
    np.testing.assert_array_equal(loss(np.eye(3), y), loss(np.eye(3), [2, 0, 1]))


def test_dtype_of_the_logits_decides_and_integers_become_float64():
    z = np.eye(3, dtype=np.float32)
    assert loss(z, np.full((3, 3), 1 / 3)).dtype == np.float32
    assert loss(z, [0, 1, 2], weight=[1.0, 2.0, 3.0]).dtype == np.float32
    assert gradient(z, [0, 1, 2], weight=np.ones(3)).dtype == np.float32
    assert loss(np.eye(3, dtype=np.int64), [0, 1, 2]).dtype == np.float64


def test_probabilities_made_by_a_float32_softmax_are_accepted():
    for size in (3, 1000, 20_000):
        z = 5 * np.random.default_rng(size).standard_normal((4, size)).astype(np.float32)
        e = np.exp(z)
        assert np.isfinite(loss(z, e / e.sum(axis=1, keepdims=True)))


# ---- The graph -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_backward_passes_the_gradient_from_above(reduction):
    rng = np.random.default_rng(7)
    z, y = rng.standard_normal((4, 3)), [0, 2, 1, 1]
    tensor = ts.Tensor(z, requires_grad=True)
    out = ts.cross_entropy(tensor, y, label_smoothing=0.1, reduction=reduction)
    above = rng.standard_normal(out.shape)
    out.backward(above)
    row = gradient(z, y, label_smoothing=0.1, reduction=reduction)
    np.testing.assert_allclose(tensor.grad, row * np.reshape(above, (-1, 1)), 1e-14)


def test_a_retained_graph_gives_the_same_gradient_twice_and_grad_is_its_own_array():
    tensor = ts.Tensor(np.eye(3), requires_grad=True)
    out = ts.cross_entropy(tensor, [0, 1, 1])
    out.backward(retain_graph=True)
    first = tensor.grad
    kept = first.copy()
    first *= 7.0  # what a user does to .grad must not reach the graph
    tensor.zero_grad()
    out.backward()
    np.testing.assert_array_equal(tensor.grad, kept)


def test_a_leaf_takes_the_array_of_the_kernel_without_a_copy(monkeypatch):
    from tinysmooth import kernels

    made = []
    original = kernels.cross_entropy_rows
    monkeypatch.setattr(
        kernels, "cross_entropy_rows", lambda *a: made.append(original(*a)) or made[-1]
    )
    tensor = ts.Tensor(np.eye(3), requires_grad=True)
    ts.cross_entropy(tensor, [0, 1, 1]).backward()
    assert tensor.grad is made[0][1]


def test_gradients_of_two_losses_of_one_tensor_add_up():
    tensor = ts.Tensor(np.eye(3), requires_grad=True)
    a, b = ts.cross_entropy(tensor, [0, 1, 1]), ts.cross_entropy(tensor, [2, 2, 0])
    (a + b).backward()
    expected = gradient(np.eye(3), [0, 1, 1]) + gradient(np.eye(3), [2, 2, 0])
    np.testing.assert_allclose(tensor.grad, expected, rtol=0, atol=1e-16)


def test_probabilities_get_their_gradient_minus_log_p():
    rng = np.random.default_rng(8)
    z, q = rng.standard_normal((3, 4)), rng.dirichlet(np.ones(4), 3)
    w = np.array([0.5, 1.0, 2.0, 0.0])

    def of_targets(targets):
        return ts.cross_entropy(
            z, targets, label_smoothing=0.1, weight=w, check_probabilities=False
        )

    ts.gradcheck(of_targets, [q], tolerance=1e-8)


def test_no_gradient_is_computed_where_none_is_needed(monkeypatch):
    wanted = []
    from tinysmooth import kernels

    original = kernels.cross_entropy_rows
    monkeypatch.setattr(
        kernels, "cross_entropy_rows", lambda *a: wanted.append(a[-1]) or original(*a)
    )
    tensor = ts.Tensor(np.eye(3), requires_grad=True)
    ts.cross_entropy(np.eye(3), [0, 1, 2])
    with ts.no_grad():
        ts.cross_entropy(tensor, [0, 1, 2])
    ts.cross_entropy(tensor, [0, 1, 2])
    assert wanted == [False, False, True]


# ---- Accuracy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [1.0, 10.0, 20.0, 30.0, 36.7, 37.0, 40.0, 300.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_a_confident_right_answer_keeps_its_relative_accuracy(gap, classes):
    z = np.zeros(classes)
    z[0] = gap
    exact = math.log1p((classes - 1) * math.exp(-gap))
    share = math.exp(-gap) / (1 + (classes - 1) * math.exp(-gap))
    assert loss(z, 0) == pytest.approx(exact, rel=1e-14)
    assert loss(z, np.eye(classes)[0]) == pytest.approx(exact, rel=1e-14)
    for targets in (0, np.eye(classes)[0]):
        g = gradient(z, targets)
        assert g[0] == pytest.approx(-(classes - 1) * share, rel=1e-14)
        np.testing.assert_allclose(g[1:], share, 1e-14)


def test_float32_keeps_learning_where_the_plain_form_has_stopped():
    z = np.array([17.0, 0.0], np.float32)
    plain = -np.log(np.exp(z[0] - z[0]) / np.exp(z - z[0]).sum())
    assert plain == 0.0
    assert loss(z, 0) == pytest.approx(4.139937e-8, rel=1e-6)
    np.testing.assert_allclose(gradient(z, 0), [-4.139937e-8, 4.139937e-8], 1e-6)


def test_float32_mean_over_many_rows_is_summed_in_float64():
    z = np.full((100_000, 2), [1.0, 0.0], np.float32)
    y = np.zeros(100_000, np.int64)
    exact = math.log1p(math.exp(-1.0))
    assert loss(z, y) == pytest.approx(exact, rel=6e-8)
    assert loss(z, y, reduction="sum") == pytest.approx(1e5 * exact, rel=1.2e-7)


def test_float32_gradient_stays_accurate_for_logits_far_apart():
    rng = np.random.default_rng(9)
    z = (20 * rng.standard_normal((200, 10))).astype(np.float32)
    y = rng.integers(0, 10, 200)
    ours, exact = gradient(z, y), gradient(z.astype(np.float64), y)
    usual = np.abs(exact) > 1e-37  # below, float32 itself runs out of digits
    assert (np.abs(ours - exact)[usual] / np.abs(exact)[usual]).max() < 5e-7


# ---- Edge cases, row by row ---------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.0, 0.1, 1.0])
def test_one_class_costs_nothing(eps):
    for targets in ([0, 0], np.ones((2, 1))):
        value = loss(np.array([[3.0], [-7.0]]), targets, label_smoothing=eps)
        assert value == 0.0 and not np.signbit(value)
        assert not gradient([[3.0], [-7.0]], targets, label_smoothing=eps).any()


def test_smoothing_of_one_ignores_the_target():
    z = np.array([[1.0, 2.0, 4.0]])
    values = [float(loss(z, [y], label_smoothing=1.0)) for y in range(3)]
    uniform = -ts.log_softmax(z).data.mean()
    np.testing.assert_allclose(values, uniform, 1e-15)
    assert len(set(values)) == 1


def test_a_masked_wrong_class_is_fine_without_smoothing_and_infinite_with_it():
    z = np.array([[1.0, 2.0, -INF]])
    assert loss(z, [0]) == pytest.approx(1.313261687518)
    assert gradient(z, [0])[0, 2] == 0.0
    assert loss(z, [0], label_smoothing=0.1) == INF
    p = np.array([0.2689414213699951, 0.7310585786300049, 0.0])
    expected = p - ts.smooth_targets(0, 3, 0.1)
    np.testing.assert_allclose(gradient(z, [0], label_smoothing=0.1)[0], expected, 1e-14)


@pytest.mark.parametrize("eps", [0.0, 0.1, 1.0])
def test_a_masked_right_class_costs_infinity(eps):
    assert loss(np.array([[-INF, 2.0]]), [0], label_smoothing=eps) == INF
    assert np.isfinite(gradient([[-INF, 2.0]], [0], label_smoothing=eps)).all()


@pytest.mark.parametrize("row", [[-INF, -INF], [INF, 0.0], [0.0, INF], [NAN, 0.0], [0.0, NAN]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_rows_without_a_softmax_are_nan_and_leave_the_others_alone(row, dtype, eps):
    z = np.array([row, [1.0, 2.0]], dtype)
    values = loss(z, [0, 0], label_smoothing=eps, reduction="none")
    slopes = gradient(z, [0, 0], label_smoothing=eps, reduction="none")
    assert np.isnan(values[0]) and np.isfinite(values[1])
    assert np.isnan(slopes[0]).all() and np.isfinite(slopes[1]).all()
    assert np.isnan(loss(z, [0, 0], label_smoothing=eps))


def test_no_mass_times_minus_infinity_counts_nothing():
    z = np.array([[1.0, -INF]])
    assert loss(z, np.array([[1.0, 0.0]])) == 0.0
    weighted = loss(z, [0], label_smoothing=0.1, weight=[1.0, 0.0], reduction="sum")
    assert weighted == 0.0
    assert np.isfinite(gradient(z, [0], label_smoothing=0.1, weight=[1.0, 0.0])).all()


def test_huge_logits_do_not_overflow():
    right = np.array([[1e4, 0.0, 0.0]])
    assert loss(right, [0]) == 0.0
    assert not gradient(right, [0]).any()
    assert loss(right, [0], label_smoothing=0.1) == pytest.approx(0.1 * 2 / 3 * 1e4)
    expected = [[2 / 30, -1 / 30, -1 / 30]]
    np.testing.assert_allclose(gradient(right, [0], label_smoothing=0.1), expected, 1e-14)
    assert loss(right, [1]) == 1e4
    np.testing.assert_array_equal(gradient(right, [1]), [[1.0, -1.0, 0.0]])
    largest = np.array([[3e38, -3e38]], np.float32)
    assert loss(largest, [1]) == INF
    np.testing.assert_array_equal(gradient(largest, [1]), [[1.0, -1.0]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ignored_rows_cost_nothing_and_get_a_gradient_of_exactly_zero(reduction):
    z = np.array([[NAN, 1.0], [1.0, 2.0], [INF, 0.0]])
    options = {"label_smoothing": 0.1, "reduction": reduction}
    value = loss(z, [-100, 0, -100], **options)
    expected = loss(z[1:2], [0], **options)
    np.testing.assert_array_equal(np.atleast_1d(value)[np.atleast_1d(value) != 0], expected)
    g = gradient(z, [-100, 0, -100], **options)
    assert not g[[0, 2]].any()
    np.testing.assert_array_equal(g[1:2], gradient(z[1:2], [0], **options))


def test_ignore_index_may_be_a_class():
    z = np.eye(3)
    assert loss(z, [0, 1, 2], ignore_index=1) == loss(z[[0, 2]], [0, 2])


@pytest.mark.parametrize("targets", [[], np.empty((0, 3))])
def test_an_empty_batch_has_no_mean_a_sum_of_zero_and_no_losses(targets):
    z = np.empty((0, 3))
    assert np.isnan(loss(z, targets))
    assert loss(z, targets, reduction="sum") == 0.0
    assert loss(z, targets, reduction="none").shape == (0,)
    assert gradient(z, targets).shape == (0, 3)


def test_all_rows_ignored_is_a_mean_of_nothing():
    z = np.eye(2)
    assert np.isnan(loss(z, [-100, -100]))
    assert loss(z, [-100, -100], reduction="sum") == 0.0
    assert not loss(z, [-100, -100], reduction="none").any()
    assert not gradient(z, [-100, -100]).any()


def test_a_mean_over_weights_that_add_up_to_zero_is_nan():
    z, w = np.eye(2), [0.0, 1.0]
    assert np.isnan(loss(z, [0, 0], weight=w))
    assert np.isnan(gradient(z, [0, 0], weight=w)).all()
    assert loss(z, [0, 0], weight=w, reduction="sum") == 0.0


def test_unchecked_probabilities_are_taken_as_they_are():
    z = np.array([[1.0, 0.0]])
    q = np.array([[2.0, -0.5]])
    expected = -(q * ts.log_softmax(z).data).sum()
    assert loss(z, q, check_probabilities=False) == pytest.approx(expected, rel=1e-14)
    s = q.sum() * ts.softmax(z).data - q
    np.testing.assert_allclose(gradient(z, q, check_probabilities=False), s, 1e-14)


def test_negative_smoothing_needs_the_word_and_undoes_symmetric_noise():
    z, rate = np.array([[1.0, 0.0, -2.0]]), 0.3
    options = {"label_smoothing": -rate / (1 - rate), "allow_negative": True}
    seen = ts.smooth_targets(0, 3, rate)  # how often each label shows up for class 0
    mean = sum(seen[y] * float(loss(z, [y], **options)) for y in range(3))
    assert mean == pytest.approx(float(loss(z, [0])), rel=1e-14)
    mean = sum(seen[y] * gradient(z, [y], **options) for y in range(3))
    np.testing.assert_allclose(mean, gradient(z, [0]), rtol=0, atol=1e-15)


# ---- Errors --------------------------------------------------------------------------------------

Z = np.zeros((2, 3))
BAD = [
    ("a float target", TypeError, r"targets.*float64.*0\.9.*astype", Z, [0.9, 1.0], {}),
    ("a boolean target", TypeError, r"targets.*bool.*True.*astype", Z, [True, False], {}),
    ("one-hot integers", TypeError, r"targets.*\(2, 3\).*argmax", Z, np.eye(3, dtype=int)[:2], {}),
    ("words", TypeError, "targets has dtype", Z, ["cat", "dog"], {}),
    ("target K", IndexError, r"targets is 3 in row 1.*\[0, 3\)", Z, [0, 3], {}),
    ("target -1", IndexError, r"targets is -1 in row 0.*\[0, 3\)", Z, [-1, 0], {}),
    ("target 2^63", IndexError, "9223372036854775808", Z, np.array([2**63, 0], np.uint64), {}),
    ("a pixel", IndexError, r"row \(1, 0\)", np.zeros((2, 3, 2)), [[0, 1], [7, 0]], {}),
    ("too few targets", ValueError, r"\(1,\).*expected \(2,\)", Z, [0], {}),
    ("targets of a vector", ValueError, r"expected \(\)", np.zeros(3), [0, 1], {}),
    ("a sum of 1.1", ValueError, "sum of 1.1 in row 0", Z, [[0.5, 0.6, 0], [1, 0, 0]], {}),
    ("a slightly wrong sum", ValueError, "sum of", Z, [[0.5, 0.5 + 3e-6, 0], [1, 0, 0]], {}),
    (
        "a negative part",
        ValueError,
        "-0.5 for class 1 in row 1",
        Z,
        [[1, 0, 0], [1, -0.5, 0.5]],
        {},
    ),
    ("a NaN part", ValueError, "sum of nan", Z, [[NAN, 0, 0], [1.0, 0, 0]], {}),
    ("soft shape", ValueError, r"\(2, 2\).*\(2, 3\)", Z, np.full((2, 2), 0.5), {}),
    ("soft, ignored", ValueError, "ignore_index is 1", Z, np.eye(3)[:2], {"ignore_index": 1}),
    (
        "eps -0.1",
        ValueError,
        r"-0\.1.*\[0, 1\].*allow_negative",
        Z,
        [0, 1],
        {"label_smoothing": -0.1},
    ),
    ("eps 1.5", ValueError, r"1\.5.*\[0, 1\]", Z, [0, 1], {"label_smoothing": 1.5}),
    ("eps NaN", ValueError, r"nan.*\[0, 1\]", Z, [0, 1], {"label_smoothing": NAN}),
    ("eps text", TypeError, "label_smoothing.*'0.1'", Z, [0, 1], {"label_smoothing": "0.1"}),
    ("eps True", TypeError, "label_smoothing", Z, [0, 1], {"label_smoothing": True}),
    ("few weights", ValueError, r"weight has shape \(2,\).*\(3,\)", Z, [0, 1], {"weight": [1, 2]}),
    ("negative weight", ValueError, "weight is -1 for class 2", Z, [0, 1], {"weight": [1, 1, -1]}),
    ("NaN weight", ValueError, "weight is nan", Z, [0, 1], {"weight": [1, NAN, 1]}),
    ("reduction", ValueError, "'avg'.*'mean'", Z, [0, 1], {"reduction": "avg"}),
    ("ignore_index", TypeError, r"ignore_index is 1\.5", Z, [0, 1], {"ignore_index": 1.5}),
    ("float16", TypeError, "float16.*float32", Z.astype(np.float16), [0, 1], {}),
    ("complex", TypeError, "complex", Z.astype(complex), [0, 1], {}),
    ("no classes", ValueError, r"\(2, 0\).*at least one class", np.zeros((2, 0)), [0, 1], {}),
    ("a scalar", ValueError, r"logits has shape \(\)", np.array(1.0), 0, {}),
    ("ragged logits", ValueError, "logits", [[1.0], [1.0, 2.0]], [0, 1], {}),
]


@pytest.mark.parametrize(
    ("kind", "words", "logits", "targets", "options"),
    [case[1:] for case in BAD],
    ids=[case[0] for case in BAD],
)
@pytest.mark.parametrize("function", [ts.cross_entropy, ts.cross_entropy_gradient])
def test_bad_input_is_refused_by_name(function, kind, words, logits, targets, options):
    with pytest.raises(kind, match=words) as error:
        function(logits, targets, **options)
    assert str(error.value).startswith(function.__name__ + ": ")


def test_weights_that_require_a_gradient_are_refused():
    with pytest.raises(TypeError, match=r"weight requires a gradient.*detach"):
        ts.cross_entropy(Z, [0, 1], weight=ts.Tensor(np.ones(3), requires_grad=True))


@pytest.mark.parametrize("changed", ["weight", "weight of a tensor", "logits"])
def test_the_gradient_of_the_targets_uses_what_was_there_at_the_call(changed):
    logits, weight = np.zeros((1, 3)), np.ones(3)
    targets = ts.Tensor(np.array([[0.2, 0.3, 0.5]]), requires_grad=True)
    kept = ts.Tensor(weight) if changed == "weight of a tensor" else weight
    given = logits if changed == "logits" else ts.Tensor(logits, requires_grad=True)
    loss = ts.cross_entropy(given, targets, weight=kept)
    (kept.data if isinstance(kept, ts.Tensor) else kept)[...] = 50.0
    logits[0, 0] = 9.0
    loss.backward()
    np.testing.assert_allclose(targets.grad, np.full((1, 3), math.log(3.0)))


def test_a_list_of_tensors_is_refused_where_it_comes():
    row = ts.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"logits is a list with Tensors.*ts\.stack"):
        ts.cross_entropy([row, row * 2], [0, 1])
