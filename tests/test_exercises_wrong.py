"""Typical wrong answers to the exercises fail, and the checker says what they come from.

Each row edits one place of a solution the way a reader goes wrong.
"""

from pathlib import Path

import pytest

from tinysmooth.chapters.exercises import RIGHT, UNWRITTEN, check_exercises

CHAPTERS = Path(__file__).parent.parent / "chapters"

# chapter, exercise, right piece of the solution, wrong piece, words of the checker
WRONG_ANSWERS = [
    (
        1,
        "softmax",
        "np.exp(logits - np.max(logits, axis=axis, keepdims=True))",
        "np.exp(logits)",
        "largest",
    ),
    (1, "softmax", "exponentials.sum(axis=axis, keepdims=True)", "exponentials.sum()", "axis"),
    (1, "softmax", "exponentials / exponentials.sum", "exponentials / exponentials.max", "largest"),
    (1, "recover_logits", "logits - logits.mean()", "logits", "mean"),
    (1, "tempered_softmax", "/ temperature)", "* temperature)", "divide"),
    (1, "tempered_softmax", "winners / winners.sum()", "winners / 1", "share|sum"),
    (2, "entropy", "np.log(q[happens])", "np.log2(q[happens])", "nats|bits"),
    (2, "entropy", "happens = q > 0", "happens = q >= 0", "0 log 0|nan"),
    (2, "entropy", "return -(q", "return (q", "sign|negative|minus"),
    (2, "cross_entropy", "(q * shifted).sum(axis=1)", "(q * shifted).mean(axis=1)", "LSE(z) - q.z"),
    (
        2,
        "cross_entropy",
        "shifted = logits - logits.max(axis=1, keepdims=True)",
        "shifted = logits",
        "largest|overflow",
    ),
    (2, "best_constant_prediction", "/ len(labels)", "/ num_classes", "observed shares"),
    (
        2,
        "best_constant_prediction",
        "np.bincount(labels, minlength=num_classes) / len(labels)",
        "np.eye(num_classes)[np.bincount(labels).argmax()]",
        "certain|often|infinite",
    ),
    (3, "logit_gradient", "gradient / len(targets)", "gradient", "mean|batch|N"),
    (3, "logit_gradient", "-= 1.0", "+= 1.0", "minus"),
    (3, "softmax_pullback", "(probs * grad).sum", "grad.sum", "sum(p * grad)"),
    (
        3,
        "softmax_pullback",
        "(grad - (probs * grad).sum(axis=1, keepdims=True))",
        "grad",
        "diag(p) alone",
    ),
    (3, "hessian_times", "(v - probs @ v)", "v", "p"),
    (3, "numerical_gradient", "step = 1e-5", "step = 1e-1", "near 1e-5"),
    (3, "numerical_gradient", "down[index] -= step", "down[index] -= 0", "only one side"),
    (7, "gap_for_probability", "num_classes - 1", "num_classes", "num_classes - 1"),
    (7, "gap_for_probability", "- np.log1p(-prob)", "+ np.log1p(-prob)", "(1 - prob) / "),
    (7, "confident_loss", "np.log1p(rest)", "np.log(1 + rest)", "np.log1p"),
    (7, "confident_loss", "int(np.argmax(logits))", "len(logits) - 1", "largest"),
    (7, "first_rounded_gap", "dtype(-middle)", "np.float64(-middle)", "dtype"),
    (7, "first_rounded_gap", "high = middle", "low = middle", "bisect"),
    (8, "descend", "logits -= lr", "logits += lr", "subtract the gradient"),
    (8, "descend", "np.array(logits, dtype=np.float64)", "logits", "work on a copy"),
    (8, "time_to_probability", "* gap) / num_classes", "* gap)", "divide by K"),
    (8, "gap_at_time", "return (low + high) / 2", "return np.log1p(num_classes * time)", "limit"),
    (8, "gap_at_time", "range(100)", "range(20)", "both sides|ten digits|two sides"),
    (9, "steps_to_flip", "-= 1.0 - epsilon", "-= 1.0", "epsilon does nothing"),
    (9, "steps_to_flip", "steps = 0", "steps = 1", "stop as soon"),
    (9, "steps_to_flip", "np.argmax(logits) != target", "steps < 30", "step until"),
    (
        9,
        "flip_bounds",
        "int(np.ceil(gap / ((1.0 - epsilon) * lr)))",
        "gap / ((1.0 - epsilon) * lr)",
        "round up",
    ),
    (9, "flip_bounds", "(2.0 - epsilon)", "2.0", "quickest"),
    (9, "unlearning_time", "(gap - np.expm1(-gap)) / 2.0", "gap / 2.0", "slows"),
    (
        9,
        "unlearning_time",
        "(gap - np.expm1(-gap)) / 2.0",
        "gap - np.expm1(-gap)",
        "each of the two",
    ),
    (10, "spectral_product", "ord=2", "ord='fro'", "Frobenius"),
    (10, "spectral_product", "np.prod", "np.sum", "multiply"),
    (10, "probability_slope", "probs[target] * (", "(", "log p"),
    (10, "probability_slope", " - probs @ logit_slopes", "", "other logits"),
    (10, "one_pixel_flips", "!= before", "== before", "leaves it as it is"),
    (10, "one_pixel_flips", "enumerate(values)", "enumerate(values[:1])", "each time"),
    (11, "smooth_row", "epsilon / num_classes)", "epsilon / (num_classes - 1))", "epsilon / K"),
    (11, "smooth_row", "row[target] += 1.0", "row[target] = 1.0", "sum to 1"),
    (11, "smoothed_loss", "surprise.mean()", "surprise.sum()", "mean over the classes"),
    (11, "smoothed_loss", " + epsilon * surprise.mean()", "", "second term"),
    (
        11,
        "smoothed_loss",
        "(1.0 - epsilon) * surprise[target] + epsilon * surprise.mean()",
        "surprise[target]",
        "without smoothing",
    ),
    (11, "smoothed_loss", " - np.max(logits)", "", "largest logit"),
    (11, "smoothed_gradient", " - epsilon / len(logits)", "", "every entry"),
    (
        11,
        "smoothed_gradient",
        "grad[target] -= 1.0 - epsilon",
        "grad[target] += 1.0 - epsilon",
        "minus q'",
    ),
    (
        11,
        "redraw_labels",
        "rng.integers(num_classes, size=len(targets))",
        "(targets + rng.integers(1, num_classes, size=len(targets))) % num_classes",
        "1 - 1/K",
    ),
    (
        11,
        "redraw_labels",
        "rng.integers(num_classes, size=len(targets))",
        "rng.integers(num_classes)",
        "evenly|each example",
    ),
    (
        11,
        "redraw_labels",
        "rng.integers(num_classes, size=len(targets))",
        "rng.choice(targets, len(targets))",
        "from all K classes",
    ),
    (
        11,
        "redraw_labels",
        "rng.random(len(targets)) < epsilon, redrawn",
        "rng.random(len(targets)) < 0.9 * epsilon, (targets + 1) % num_classes",
        "whatever the old one",
    ),
    (
        11,
        "redraw_labels",
        "rng.random(len(targets)) < epsilon",
        "np.arange(len(targets)) < epsilon * len(targets)",
        "for each example by itself",
    ),
    (12, "gap_at_rest", "np.log1p(", "np.log(", "share"),
    (12, "gap_at_rest", "return np.inf", "return 0.0", "rests nowhere"),
    (12, "epsilon_for_gap", "np.expm1(gap)", "np.exp(gap)", "mind the 1"),
    (12, "rest_with_prior", "logits - logits.mean()", "logits", "mean is 0"),
    (
        12,
        "rest_with_prior",
        "np.asarray(prior, dtype=np.float64)",
        "np.ones(len(prior)) / len(prior)",
        "prior does nothing",
    ),
    (12, "time_to_gap", "+ rise) / epsilon", "+ rise)", "divided by epsilon"),
    (13, "weighted_mean_loss", "/ weight[targets].sum()", "/ len(counts)", "not by N"),
    (13, "weighted_mean_loss", "-(log_probs @ weight)", "-log_probs.sum(axis=1)", "both terms"),
    (13, "weighted_mean_loss", "targets != ignore_index", "targets != -100", "out of bounds"),
    (13, "weighted_optimum", "pull = weight * smoothed", "pull = smoothed", "weights do nothing"),
    (13, "weighted_optimum", "pull / pull.sum()", "pull", "divide by its sum"),
    (
        13,
        "to_all_classes",
        "epsilon * num_classes / (num_classes - 1)",
        "epsilon * (num_classes - 1) / num_classes",
        "other way",
    ),
]
WRONG_ANSWERS += [
    (4, "visiting_order", "if awaited[parent] == 0:", "if parent not in order + ready:", "before"),
    (
        4,
        "visiting_order",
        "            awaited[parent] += 1",
        "        awaited[parent] = 1",
        "leaves out",
    ),
    (4, "unbroadcast", ", keepdims=True", "", "keepdims|shape"),
    (4, "unbroadcast", "grad = grad.sum(axis=tuple(range(extra)))", "pass", "in front"),
    (4, "unbroadcast", "grad.sum(axis=tuple(", "grad.mean(axis=tuple(", "mean"),
    (4, "matmul_pullbacks", "np.swapaxes(b, -1, -2)", "b.T", "last two axes|line"),
    (4, "matmul_pullbacks", "np.swapaxes(a, -1, -2) @ grad", "grad", "shape"),
    (5, "convolve", "windows, weight)", "windows, weight[:, :, ::-1, ::-1])", "upside down"),
    (5, "convolve", "[:, :, ::stride, ::stride]", "", "stride + 1"),
    (
        5,
        "convolve_pullback",
        "padded[:, :, below, beside] += share",
        "padded[:, :, below, beside] = share",
        "add up",
    ),
    (5, "convolve_pullback", "weight[:, :, r, s])", "weight[:, :, -1 - r, -1 - s])", "window"),
    (5, "max_pool_pullback", ".argmax(axis=-1)", "[..., ::-1].argmax(axis=-1)", "first"),
    (
        5,
        "max_pool_pullback",
        ".transpose(0, 1, 2, 4, 3, 5)\n    winners",
        ".transpose(0, 1, 2, 4, 5, 3)\n    winners",
        "window",
    ),
    (
        5,
        "batch_norm_pullback",
        " - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)",
        "",
        "two more terms",
    ),
    (5, "batch_norm_pullback", " - x_hat * (g * x_hat).mean(axis=0)", "", "variance"),
    (5, "batch_norm_pullback", "g = gamma * grad", "g = grad", "gamma"),
    (6, "multiply_adds", "return batch *", "return 2 * batch *", "count as one"),
    (6, "multiply_adds", "batch * down * across", "batch * height * width", "of the result"),
    (6, "winograd_pair", "m2 - m3 - m4", "m2 - m3 + m4", "sign by sign"),
    (
        6,
        "winograd_pair",
        "m1 = (d[0] - d[2]) * g[0]",
        "m1 = d[0] * g[0] - d[2] * g[0]",
        "four times is enough",
    ),
    (6, "blocked_matmul", "+= piece", "= piece", "sum over the blocks"),
    (
        6,
        "blocked_matmul",
        "a[i : i + block, k : k + block] @ b[k : k + block, j : j + block]",
        "a[i : i + block] @ b[:, j : j + block] / max(1, -(-a.shape[1] // block))",
        "a side of",
    ),
    (6, "blocked_matmul", "    out = np", "    return np.dot(a, b)\n    out = np", "a side of"),
    (
        6,
        "blocked_matmul",
        "    out = np",
        '    return np.einsum("ik,kj->ij", a, b)\n    out = np',
        "a side of",
    ),
    (6, "whole_speedup", "rest = 1.0 - sum(shares)", "rest = 0.0", "take time, too|ZeroDivision"),
    (6, "whole_speedup", "share / factor", "share * factor", "up|one over"),
    (14, "mean_gap", "/ (logits.shape[1] - 1)", "/ logits.shape[1]", "K - 1"),
    (14, "mean_gap", "(right - others).mean()", "right - others", "their mean"),
    (14, "calibration_error", "inside.mean() * ", "", "weighs|weighted"),
    (14, "calibration_error", 'side="left"', 'side="right"', "lower bin"),
    (14, "calibration_error", "num_bins=15", "num_bins=10", "15 bins"),
    (14, "paired_difference", "ddof=1", "ddof=0", "R - 1"),
    (14, "paired_difference", " / np.sqrt(len(difference))", "", "square root of R"),
    (
        14,
        "paired_difference",
        "second) - np.asarray(first",
        "first) - np.asarray(second",
        "second minus",
    ),
    (15, "two_losses", "(1.0 - epsilon) * surprise[target]", "surprise[target]", "u log p"),
    (15, "two_losses", "(prior * surprise).sum()", "surprise.mean()", "uniform"),
    (15, "two_losses", "logits - logits.max()", "logits * 1.0", "largest logit"),
    (
        15,
        "standard_error",
        "np.sqrt(accuracy * (1.0 - accuracy) / count)",
        "accuracy * (1.0 - accuracy) / count",
        "square root",
    ),
    (15, "severest", "key=order.index, ", "", "alphabet"),
    (15, "severest", 'default="not on record"', 'default="holds"', "severe"),
]
NUMBERS = {row[0] for row in WRONG_ANSWERS}


def answers_with(number, right, wrong, folder):
    solution = (CHAPTERS / "solutions" / f"{number:02d}.py").read_text(encoding="utf-8")
    assert right in solution, f"solution {number} has changed; it no longer holds {right!r}"
    path = folder / "answers.py"
    path.write_text(solution.replace(right, wrong), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("number", "exercise", "right", "wrong", "words"),
    WRONG_ANSWERS,
    ids=[f"{row[0]:02d}-{row[1]}-{i}" for i, row in enumerate(WRONG_ANSWERS)],
)
def test_a_typical_wrong_answer_is_told(number, exercise, right, wrong, words, tmp_path):
    path = answers_with(number, right, wrong, tmp_path)
    verdicts = {v.exercise: v for v in check_exercises(number, CHAPTERS, path)}
    verdict = verdicts[exercise]
    assert verdict.state not in (RIGHT, UNWRITTEN)
    said = f"{verdict.words} {verdict.hint}"
    assert any(word in said for word in words.split("|")), said


# Other right answers than the solution's
RIGHT_ANSWERS = [
    (6, "winograd_pair", "((g[0] + g[1] + g[2]) / 2)", "(g.sum() / 2)"),
    (6, "blocked_matmul", "    out = np", "    a, b = np.asarray(a), np.asarray(b)\n    out = np"),
    (6, "blocked_matmul", "    out = np", "    a, b = a.tolist(), b.tolist()\n"
     "    a, b = np.array(a), np.array(b)\n    out = np"),
    (11, "redraw_labels", "np.where(rng.random(len(targets)) < epsilon, redrawn, targets)",
     "np.where(rng.random(len(targets)) < 1 - epsilon, targets, redrawn)"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "exercise", "piece", "other"), RIGHT_ANSWERS)
def test_another_right_answer_passes(number, exercise, piece, other, tmp_path):
    path = answers_with(number, piece, other, tmp_path)
    verdicts = {v.exercise: v for v in check_exercises(number, CHAPTERS, path)}
    assert verdicts[exercise].state == RIGHT, verdicts[exercise]


@pytest.mark.parametrize("number", range(1, 16))
def test_every_chapter_has_wrong_answers_here(number):
    assert (CHAPTERS / "checks" / f"{number:02d}.py").exists()
    assert number in NUMBERS
