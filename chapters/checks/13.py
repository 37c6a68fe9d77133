"""Checks of chapter 13: the weighted mean, what class weights aim at, two kinds of epsilon."""

import math

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, same


def check_weighted_mean_loss(attempt):
    rng = np.random.default_rng(13)
    for rows, num_classes, epsilon, ignored in [(6, 4, 0.1, 2), (5, 3, 0.0, 0), (4, 5, 1.0, 1)]:
        logits = rng.normal(size=(rows, num_classes))
        log_probs = frozen(ts.log_softmax(logits).data)
        targets = rng.integers(num_classes, size=rows)
        targets[:ignored] = -100
        targets, weight = frozen(targets), frozen(rng.uniform(0.2, 3.0, size=num_classes))
        options = {"label_smoothing": epsilon, "weight": weight}
        each = ts.cross_entropy(logits, targets, reduction="none", **options).data
        counts = targets != -100
        plain = ts.cross_entropy(logits, targets, label_smoothing=epsilon).item()
        spread = (weight * ts.smooth_targets(targets[counts], num_classes, epsilon)).sum()
        same(
            attempt(log_probs, targets, weight, epsilon),
            ts.cross_entropy(logits, targets, **options).item(),
            f"weighted_mean_loss(log_probs ({rows}, {num_classes}), {targets.tolist()}, "
            f"{np.round(weight, 2).tolist()}, {epsilon})",
            mistakes=[
                (each.sum() / rows, "divide by the summed weights of the true classes, not by N"),
                (
                    each.sum() / counts.sum(),
                    "divide by the summed weights of the true classes, not by the number of rows",
                ),
                (each.sum(), "the sum is not divided yet"),
                (plain, "the weights do nothing here"),
                (
                    each.sum() / spread,
                    "divide by the weights of the true classes alone, without the smoothing",
                ),
            ],
            hint="a class weight multiplies each -log p of its class, in both terms",
        )
    log_probs, weight = frozen(np.log([[0.5, 0.5], [0.9, 0.1]])), frozen([1.0, 2.0])
    got = attempt(log_probs, frozen([-100, -100]), weight, 0.1)
    holds(
        math.isnan(float(got)),
        f"weighted_mean_loss with every row ignored is {got}, expected nan",
        "no row counts, so there is no mean",
    )
    seven = attempt(log_probs, frozen([7, 1]), weight, 0.0, ignore_index=7)
    same(
        seven,
        -math.log(0.1),
        "weighted_mean_loss(..., targets=[7, 1], ..., ignore_index=7)",
        hint="the ignored label is an argument",
    )


def check_weighted_optimum(attempt):
    for weight, target, epsilon in [([1.0, 1.0, 4.0], 0, 0.3), ([2.0, 1.0], 1, 0.0)]:
        weight = frozen(weight)
        smoothed = ts.smooth_targets([target], len(weight), epsilon)[0]
        pull = weight * smoothed
        same(
            attempt(target, weight, epsilon),
            pull / pull.sum(),
            f"weighted_optimum({target}, {weight.tolist()}, {epsilon})",
            mistakes=[
                (smoothed, "the weights do nothing here"),
                (pull, "the answer is a distribution: divide by its sum"),
                (weight / weight.sum(), "the target does nothing here"),
            ],
            hint="the loss is a cross-entropy under a target proportional to weight times q'",
        )
    weight = frozen(np.r_[np.ones(9), 92.0])
    best = np.asarray(attempt(0, weight, 0.1))
    holds(
        best.argmax() == 9,
        "with a weight of 92 the rare class is not the most probable one",
        "a weight above exp(resting gap) = 91 beats the label itself",
    )


def check_to_all_classes(attempt):
    for epsilon, num_classes in [(0.1, 10), (0.25, 2), (0.0, 5), (0.3, 1000)]:
        want = epsilon * num_classes / (num_classes - 1)
        same(
            attempt(epsilon, num_classes),
            want,
            f"to_all_classes({epsilon}, {num_classes})",
            mistakes=[
                (epsilon * (num_classes - 1) / num_classes, "this is the other way round"),
                (epsilon, "the two kinds differ"),
            ],
            hint="the wrong classes must get the same: new / K = old / (K - 1)",
        )
