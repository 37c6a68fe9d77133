"""Checks of chapter 11: the smoothed row, its loss, its gradient, and redrawn labels."""

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, near, numerical_gradient, same


def check_smooth_row(attempt):
    for target, num_classes, epsilon in [(3, 10, 0.1), (0, 4, 0.2), (1, 2, 0.0), (2, 5, 1.0)]:
        call = f"smooth_row({target}, {num_classes}, {epsilon})"
        one_hot = np.eye(num_classes)[target]
        others = epsilon * (1 - one_hot) / (num_classes - 1)
        same(
            attempt(target, num_classes, epsilon),
            (1 - epsilon) * one_hot + epsilon / num_classes,
            call,
            mistakes=[
                (
                    (1 - epsilon) * one_hot + others,
                    "you spread epsilon over the wrong classes only; the paper spreads it over "
                    "all K, the right one included",
                ),
                (
                    np.where(one_hot == 1, 1 - epsilon, epsilon / num_classes),
                    "the right class gets its share epsilon / K of the spread mass too; as it "
                    "is, the row does not sum to 1",
                ),
                (one_hot, "this is the row without smoothing"),
            ],
            hint="the row sums to 1, and its least entry is epsilon / K",
        )
    same(attempt(0, 1, 0.3), [1.0], "smooth_row(0, 1, 0.3)", hint="one class takes all the mass")


def check_smoothed_loss(attempt):
    logits = frozen([2.0, 1.0, 0.0, -1.0, 0.5])
    surprise = -_log_softmax(logits)
    same(
        attempt(logits, 0, 0.1),
        0.7244379396277962,
        "smoothed_loss([2, 1, 0, -1, 0.5], 0, 0.1)",
        mistakes=[
            (surprise[0], "this is the loss without smoothing"),
            (
                0.9 * surprise[0] + 0.1 * surprise.sum(),
                "take the mean over the classes, not the sum",
            ),
            (
                0.9 * surprise[0] + 0.025 * surprise.sum(),
                "you used epsilon / (K - 1) on every class, so the target sums to more than 1",
            ),
            (
                0.9 * surprise[0] + 0.18 * surprise[1:].sum(),
                "the mass off the target is epsilon / K a class, not (1 - epsilon) / K",
            ),
            (0.9 * surprise[0], "the second term is missing: epsilon times the mean surprise"),
            (
                _loss(np.exp(-surprise), 0, 0.1),
                "the softmax is taken twice: the argument is logits, not probabilities",
            ),
            (-(_loss(logits, 0, 0.1)), "the sign is wrong: a surprise is minus a logarithm"),
        ],
        hint="(1 - epsilon) times the surprise at the target, plus epsilon times the mean surprise",
    )
    rng = np.random.default_rng(11)
    for num_classes, epsilon in [(2, 0.3), (7, 0.0), (4, 1.0), (10, 0.1)]:
        logits, target = frozen(rng.normal(scale=3.0, size=num_classes)), num_classes - 1
        expected = ts.cross_entropy(logits, np.int64(target), label_smoothing=epsilon).item()
        call = f"smoothed_loss({_row(logits)}, {target}, {epsilon})"
        same(attempt(logits, target, epsilon), expected, call)
    for size in (1000.0, -1000.0):
        same(
            attempt(frozen([size, size + 1.0, size]), 1, 0.1),
            _loss(np.array([0.0, 1.0, 0.0]), 1, 0.1),
            f"smoothed_loss([{size:.0f}, {size + 1:.0f}, {size:.0f}], 1, 0.1)",
            hint="subtract the largest logit before the exponential; adding a constant to all "
            "the logits changes nothing",
        )


def check_smoothed_gradient(attempt):
    rng = np.random.default_rng(12)
    for num_classes, epsilon in [(10, 0.1), (3, 0.0), (5, 1.0), (2, 0.25)]:
        logits, target = frozen(rng.normal(scale=2.0, size=num_classes)), 1
        call = f"smoothed_gradient({_row(logits)}, {target}, {epsilon})"
        probs = np.exp(_log_softmax(logits))
        one_hot = np.eye(num_classes)[target]
        got = attempt(logits, target, epsilon)
        slopes = numerical_gradient(lambda z, t=target, e=epsilon: _loss(z, t, e), logits)
        same(
            got,
            slopes,
            call,
            tolerance=1e-7,
            mistakes=[
                (-slopes, "the sign is turned: output minus target, not target minus output"),
                (probs - one_hot, "this is the gradient without smoothing"),
                (
                    probs - (1 - epsilon) * one_hot,
                    "epsilon / K has to come off every entry, not the target's alone",
                ),
                (
                    probs - np.where(one_hot == 1, 1 - epsilon, epsilon / (num_classes - 1)),
                    "this belongs to the variant with epsilon / (K - 1) on the wrong classes",
                ),
                (slopes / num_classes, "do not divide by K: one example, one loss"),
            ],
            hint="softmax(logits) minus q'",
        )
        total = float(np.sum(np.asarray(got)))
        holds(abs(total) < 1e-12, f"{call} sums to {total:.2g}; output and target both sum to 1")


def check_redraw_labels(attempt):
    num_classes, epsilon, count = 10, 0.1, 220_000
    # Classes of unequal size, mixed: drawing from the labels at hand is not drawing from all.
    sizes = count * np.arange(1, num_classes + 1) // 55
    targets = frozen(np.random.default_rng(5).permutation(np.repeat(np.arange(10), sizes)))
    call = f"redraw_labels(targets of shape ({count},), {num_classes}, {epsilon}, rng)"
    labels = np.asarray(attempt(targets, num_classes, epsilon, np.random.default_rng(3)))
    holds(labels.shape == targets.shape, f"{call} has shape {labels.shape}, expected ({count},)")
    holds(labels.dtype.kind in "iu", f"{call} has dtype {labels.dtype}, expected integers")
    holds(
        labels.min() >= 0 and labels.max() < num_classes,
        f"{call} holds labels from {labels.min()} to {labels.max()}, expected 0 to 9",
    )
    changed = labels != targets
    share = epsilon * (1 - 1 / num_classes)
    near(
        changed.mean(),
        share,
        # Five standard errors: a right answer fails once in a million seeds.
        5 * np.sqrt(share * (1 - share) / count),
        f"the share of changed labels in {call}",
        "a redrawn label is drawn from all K classes, so it changes with probability 1 - 1/K; "
        "draw for each example by itself",
    )
    parts = np.array_split(changed, 10)
    holds(
        max(abs(part.mean() - share) for part in parts)
        < 6 * np.sqrt(share * (1 - share) / len(parts[0])),
        f"{call} does not change labels everywhere: in tenths of the array the shares are "
        + ", ".join(f"{part.mean():.3f}" for part in parts),
        "draw for each example by itself whether it keeps its label",
    )
    moves = np.zeros((num_classes, num_classes))
    np.add.at(moves, (targets[changed], labels[changed]), 1)
    expected = np.outer(sizes * epsilon / num_classes, np.ones(num_classes))
    np.fill_diagonal(expected, 0)
    strange = np.abs(moves - expected) - 6 * np.sqrt(expected)
    old, new = np.unravel_index(strange.argmax(), strange.shape)
    holds(
        strange.max() <= 0,
        f"{call} changes {moves[old, new]:.0f} labels from {old} to {new}, expected about "
        f"{expected[old, new]:.0f}",
        "draw the new label evenly from all the classes, whatever the old one",
    )
    untouched = np.asarray(attempt(targets, num_classes, 0.0, np.random.default_rng(4)))
    same(untouched, targets, "redraw_labels(targets, 10, 0.0, rng)", hint="epsilon 0 keeps all")


def _log_softmax(logits):
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def _loss(logits, target, epsilon):
    surprise = -_log_softmax(logits)
    return float((1 - epsilon) * surprise[target] + epsilon * surprise.mean())


def _row(logits):
    return "[" + ", ".join(f"{value:.3g}" for value in logits) + "]"
