"""Checks of chapter 12: where the gap rests, the epsilon for a rest, a prior, and the time."""

import math

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, near, same


def check_gap_at_rest(attempt):
    for num_classes, epsilon, gap in [
        (10, 0.1, 4.51085950651685),
        (2, 0.1, 2.9444389791664403),
        (1000, 0.1, 9.105090961),
        (10, 1.0, 0.0),
    ]:
        odds = num_classes * (1 - epsilon) / epsilon
        same(
            attempt(num_classes, epsilon),
            gap,
            f"gap_at_rest({num_classes}, {epsilon})",
            mistakes=[
                (
                    math.log(odds) if odds else np.inf,
                    "the right class has its share epsilon / K as well",
                ),
                (
                    math.log((1 - epsilon) * (num_classes - 1) / epsilon)
                    if epsilon < 1
                    else np.inf,
                    "this is the variant with epsilon / (K - 1) on the wrong classes",
                ),
                (-gap, "the sign is turned"),
            ],
            hint="the gap is the logarithm of the ratio of two probabilities",
        )
    got = float(attempt(10, 0.0))
    holds(
        got == math.inf,
        f"gap_at_rest(10, 0.0) is {got:g}, expected inf",
        "without smoothing the gap rests nowhere; catch the division by 0",
    )


def check_epsilon_for_gap(attempt):
    for num_classes, epsilon in [(10, 0.1), (2, 0.3), (1000, 0.01), (5, 1.0)]:
        gap = ts.resting_gap(num_classes, epsilon)
        same(
            attempt(gap, num_classes),
            epsilon,
            f"epsilon_for_gap({gap:.6f}, {num_classes})",
            mistakes=[
                (
                    num_classes / (math.exp(gap) + num_classes),
                    "exp(gap) = K (1 - epsilon) / epsilon + 1: mind the 1",
                )
            ],
            hint="solve exp(gap) = K (1 - epsilon) / epsilon + 1 for epsilon",
        )


def check_rest_with_prior(attempt):
    for prior, target, epsilon in [([0.5, 0.3, 0.2], 1, 0.1), ([0.25] * 4, 0, 0.4)]:
        prior = frozen(prior)
        smoothed = epsilon * prior + (1 - epsilon) * np.eye(len(prior))[target]
        uniform = epsilon / len(prior) + (1 - epsilon) * np.eye(len(prior))[target]
        rest = np.log(smoothed) - np.log(smoothed).mean()
        call = f"rest_with_prior({prior.tolist()}, {target}, {epsilon})"
        same(
            attempt(prior, target, epsilon),
            rest,
            call,
            mistakes=[
                (np.log(smoothed), "shift the logits so that their mean is 0"),
                (smoothed, "these are the probabilities; the logits are their logarithms"),
                (np.log(uniform) - np.log(uniform).mean(), "the prior does nothing here")
                if len(set(prior.tolist())) > 1
                else (np.full(len(prior), np.nan), ""),
            ],
            hint="the softmax of the answer is the smoothed target",
        )
        grad = ts.softmax(np.asarray(attempt(prior, target, epsilon), float)).data - smoothed
        holds(np.abs(grad).max() < 1e-12, f"the gradient at {call} is not 0")


def check_time_to_gap(attempt):
    for gap, num_classes, epsilon, time in [
        (0.845729, 10, 0.1, 1.0),
        (3.700232, 10, 0.1, 10.0),
        (4.495073, 10, 0.1, 50.0),
    ]:
        same(
            attempt(gap, num_classes, epsilon),
            time,
            f"time_to_gap({gap}, {num_classes}, {epsilon})",
            tolerance=1e-4,
            mistakes=[(epsilon * time, "the whole is divided by epsilon")],
            hint="mind which terms the brackets hold",
        )
    same(
        attempt(0.0, 7, 0.2), 0.0, "time_to_gap(0.0, 7, 0.2)", hint="the gap is 0 at the beginning"
    )
    lr, logits, steps = 1e-3, np.zeros(3), 0
    while logits[0] - logits[1] < 2.0:
        logits = logits - lr * ts.cross_entropy_gradient(logits, 0, label_smoothing=0.2)
        steps += 1
    near(
        attempt(2.0, 3, 0.2),
        lr * steps,
        5 * lr,
        "time_to_gap(2.0, 3, 0.2), counted in steps of 0.001,",
    )
