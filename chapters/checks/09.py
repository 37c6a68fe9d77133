"""Checks of chapter 09: steps until the label wins, their bounds, and the exact time."""

import math

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, near, same


def check_steps_to_flip(attempt):
    for epsilon, gap in [(0.0, 3.0), (0.1, 3.0), (0.0, 10.0), (0.3, 0.5)]:
        start = np.zeros(6)
        start[2] = gap
        want = _steps(start, 4, 0.1, epsilon)
        same(
            attempt(frozen(start), 4, 0.1, epsilon),
            want,
            f"steps_to_flip({start.tolist()}, 4, 0.1, {epsilon})",
            mistakes=[
                (_steps(start, 4, 0.1, 0.0), "epsilon does nothing here: use the smoothed target"),
                (want - 1, "count the step after which the new label leads, too"),
                (want + 1, "count steps, not looks: stop as soon as the new label leads"),
            ],
            hint="step until the largest logit is the new label's",
        )
    same(
        attempt(frozen([0.0, 1.0]), 1, 0.1),
        0,
        "steps_to_flip([0, 1], 1, 0.1)",
        hint="look before you step: the label may lead already",
    )
    rng = np.random.default_rng(9)
    start = rng.normal(scale=2.0, size=5)
    same(
        attempt(frozen(start), 0, 0.2),
        _steps(start, 0, 0.2, 0.0),
        f"steps_to_flip({np.round(start, 2).tolist()}, 0, 0.2)",
        hint="another class may take the lead on the way; wait for the label",
    )


def check_flip_bounds(attempt):
    for gap, lr, epsilon in [(10.0, 0.1, 0.0), (4.51086, 0.1, 0.1), (3.3, 0.7, 0.25)]:
        low, high = gap / ((2 - epsilon) * lr), math.ceil(gap / ((1 - epsilon) * lr))
        same(
            attempt(gap, lr, epsilon),
            [low, high],
            f"flip_bounds({gap}, {lr}, {epsilon})",
            mistakes=[
                ([high, low], "the lower bound comes first"),
                ([low, gap / ((1 - epsilon) * lr)], "the upper bound is a whole number: round up"),
                ([low, math.floor(gap / ((1 - epsilon) * lr))], "round the upper bound up"),
                ([gap / (2 * lr), math.ceil(gap / lr)], "epsilon does nothing here"),
            ],
            hint="the quickest steps give the lower bound, the slowest the upper one",
        )


def check_unlearning_time(attempt):
    for gap, time in [(0.0, 0.0), (1.0, 0.8160602794), (4.51086, 2.7499345), (40.0, 20.5)]:
        same(
            attempt(gap),
            time,
            f"unlearning_time({gap})",
            tolerance=1e-6,
            mistakes=[
                (gap / 2, "the speed is 2 only while the old class is certain; it slows to 1"),
                (gap, "both logits move, so the gap closes up to twice as fast"),
                (2 * time, "each of the two logits moves: D' = -2 / (1 + exp(-D))"),
            ],
            hint="separate the variables: (1 + exp(-D)) dD = -2 dt",
        )
    tiny = float(attempt(1e-9))
    holds(
        abs(tiny / 1e-9 - 1) < 1e-6,
        f"unlearning_time(1e-9) is {tiny:.4g}, expected 1e-09",
        "1 - exp(-gap) cancels for a small gap; np.expm1 does not",
    )
    # Against the motion itself, in small steps.
    lr, gap = 1e-3, 3.0
    near(
        attempt(gap),
        lr * _steps(np.array([gap, 0.0]), 1, lr, 0.0),
        3 * lr,
        "unlearning_time(3.0), counted in steps of 0.001,",
    )


def _steps(logits, target, lr, epsilon):
    logits, steps = np.array(logits, dtype=float), 0
    while logits.argmax() != target:
        logits = logits - lr * ts.cross_entropy_gradient(logits, target, label_smoothing=epsilon)
        steps += 1
    return steps
