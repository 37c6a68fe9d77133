"""Checks of chapter 15: the two parts of the loss, a standard error, the severest verdict."""

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, same


def check_two_losses(attempt):
    rng = np.random.default_rng(15)
    for num_classes, epsilon in [(4, 0.1), (10, 0.3), (3, 0.0)]:
        logits, prior = frozen(rng.normal(size=num_classes)), rng.dirichlet(np.ones(num_classes))
        surprise = -ts.log_softmax(logits).data
        hard, soft = surprise[1], (prior * surprise).sum()
        call = f"two_losses(logits of shape ({num_classes},), 1, prior, {epsilon})"
        same(
            attempt(logits, 1, frozen(prior), epsilon),
            [(1 - epsilon) * hard, epsilon * soft],
            call,
            mistakes=[
                ([hard, soft], "each part has its weight, 1 - epsilon and epsilon"),
                ([(1 - epsilon) * hard, epsilon * surprise.mean()], "this takes u to be uniform"),
                ([epsilon * hard, (1 - epsilon) * soft], "the weights are exchanged"),
                ([(1 - epsilon) * hard, epsilon * surprise.sum()], "weigh each class with u"),
            ],
            hint="H(u, p) is minus the sum of u log p",
        )
    big = attempt(frozen([1000.0, 998.0]), 0, frozen([0.5, 0.5]), 0.1)
    small = np.log1p(np.exp(-2.0))
    same(big, [0.9 * small, 0.1 * (small + 1.0)], "two_losses([1000, 998], 0, [0.5, 0.5], 0.1)",
         hint="take the largest logit off before the exponential")  # fmt: skip


def check_standard_error(attempt):
    for accuracy, count in [(0.8, 50_000), (0.5, 1000), (1.0, 10)]:
        variance = accuracy * (1 - accuracy)
        truth = np.sqrt(variance / count)
        others = [
            (variance / count, "this is the variance; take the square root"),
            (np.sqrt(variance), "this is the spread of one example; divide by the root of count"),
            (np.sqrt(variance) / count, "divide by the square root of count"),
            (100 * truth, "a share, not per cent"),
        ]
        same(
            attempt(accuracy, count),
            truth,
            f"standard_error({accuracy}, {count})",
            tolerance=1e-12,
            mistakes=[(value, words) for value, words in others if value != truth],
            hint="each example is right or wrong: variance accuracy (1 - accuracy)",
        )


def check_severest(attempt):
    order = ["not tested here", "holds", "holds under a condition", "fails as stated"]
    for verdicts, want in [
        ([order[1]], order[1]),
        ([order[1], order[3], order[2]], order[3]),
        ([order[0], order[1]], order[1]),
        ([order[2], order[1]], order[2]),
        ([], "not on record"),
    ]:
        got = attempt(list(verdicts))
        holds(
            got == want,
            f"severest({verdicts}) is {got!r}, expected {want!r}",
            "the order of the alphabet is not the order of severity"
            if verdicts and got == max(verdicts)
            else "the most severe verdict in the list; a tested claim beats an untested one",
        )
