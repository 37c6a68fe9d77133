"""Checks of chapter 14: the mean gap, the calibration error, differences of pairs of runs."""

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, same


def check_mean_gap(attempt):
    rng = np.random.default_rng(14)
    for rows, num_classes in [(1, 2), (6, 10), (50, 3)]:
        logits = frozen(rng.normal(scale=3.0, size=(rows, num_classes)))
        targets = frozen(rng.integers(num_classes, size=rows))
        right = logits[np.arange(rows), targets]
        others = np.where(np.eye(num_classes)[targets] == 1, -np.inf, logits)
        same(
            attempt(logits, targets),
            ts.metrics.logit_gap(logits, targets),
            f"mean_gap(logits of shape ({rows}, {num_classes}), targets)",
            mistakes=[
                ((right - logits.mean(axis=1)).mean(), "the right logit is not one of the others"),
                ((right - others.max(axis=1)).mean(), "the mean of the others, not their largest"),
                (right.mean(), "take the other logits off: only differences mean anything"),
                (right - (logits.sum(axis=1) - right) / (num_classes - 1), "now their mean"),
            ],
            hint="for each row, the right logit minus the mean of the K - 1 others",
        )


def check_calibration_error(attempt):
    probs = frozen([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45]])
    targets = frozen([0, 1, 1, 0])
    same(
        attempt(probs, targets, 2),
        abs(0.75 - 0.7375),
        "calibration_error(four examples, all above 0.5, 2 bins)",
        hint="one bin holds all four: accuracy 0.75, mean confidence 0.7375",
    )
    rng = np.random.default_rng(15)
    for rows, num_bins in [(300, 15), (40, 10), (5, 1)]:
        probs = frozen(rng.dirichlet(np.full(4, 0.5), size=rows))
        targets = frozen(rng.integers(4, size=rows))
        bins = ts.metrics.reliability_bins(probs, targets, num_bins=num_bins)
        filled = bins.counts > 0
        distance = np.abs(bins.accuracy - bins.confidence)[filled]
        signed = (bins.accuracy - bins.confidence)[filled]
        shares = bins.counts[filled] / rows
        truth = bins.expected_calibration_error
        others = [
            (distance.mean(), "a bin weighs as much as the share of examples in it"),
            (abs((signed * shares).sum()), "take the absolute value in each bin, not at the end"),
            ((distance * bins.counts[filled]).sum(), "divide by the number of examples"),
        ]
        same(
            attempt(probs, targets, num_bins),
            truth,
            f"calibration_error(probs of shape ({rows}, 4), targets, {num_bins})",
            mistakes=[(value, words) for value, words in others if abs(value - truth) > 1e-9],
            hint="for every bin |share right - mean confidence|, weighted by its share of examples",
        )
    edge = frozen([[0.5, 0.25, 0.25], [0.51, 0.29, 0.2]])
    same(
        attempt(edge, frozen([0, 1]), 2),
        0.5 * 0.5 + 0.5 * 0.51,
        "calibration_error with a confidence of exactly 0.5 and 2 bins",
        hint="0.5 belongs to the lower bin, 0.51 to the upper one",
    )
    default = ts.metrics.expected_calibration_error(probs, targets)
    same(attempt(probs, targets), default, "calibration_error(probs, targets)",
         hint="15 bins if nothing is said")  # fmt: skip


def check_paired_difference(attempt):
    first, second = frozen([0.70, 0.60, 0.80]), frozen([0.72, 0.61, 0.83])
    change = second - first
    error = change.std(ddof=1) / np.sqrt(3)
    apart = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 3)
    same(
        attempt(first, second),
        [change.mean(), error],
        "paired_difference([0.70, 0.60, 0.80], [0.72, 0.61, 0.83])",
        mistakes=[
            ([-change.mean(), error], "second minus first"),
            ([change.mean(), change.std() / np.sqrt(3)], "R - 1 in the denominator: ddof=1"),
            ([change.mean(), change.std(ddof=1)], "divide by the square root of R"),
            ([change.mean(), apart], "take the differences first: what a pair shares cancels"),
        ],
        hint="the mean of the differences, and their standard deviation over sqrt(R)",
    )
    mean, error = attempt(first, frozen(first + 0.25))
    holds(
        abs(float(mean) - 0.25) < 1e-12 and abs(float(error)) < 1e-12,
        f"runs that differ by 0.25 give ({float(mean):g}, {float(error):g}), expected (0.25, 0)",
        "the spread from seed to seed is no part of it",
    )
