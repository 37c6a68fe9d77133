"""Checks of chapter 08: descent on free logits, the time to a probability, the gap after a time."""

import math

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, near, same


def check_descend(attempt):
    rng = np.random.default_rng(8)
    for num_classes, target, lr, steps in [(10, 0, 0.1, 1), (3, 2, 1.0, 7), (4, 1, 0.5, 0)]:
        start = frozen(rng.normal(size=num_classes))
        want, climbed = start.copy(), start.copy()
        for _ in range(steps):
            want = want - lr * ts.cross_entropy_gradient(want, target)
            climbed = climbed + lr * ts.cross_entropy_gradient(climbed, target)
        same(
            attempt(start, target, lr, steps),
            want,
            f"descend(logits of shape ({num_classes},), {target}, {lr}, {steps})",
            mistakes=[
                (climbed, "this climbs: subtract the gradient"),
                (
                    start - lr * steps * ts.cross_entropy_gradient(start, target),
                    "take the gradient anew at every step",
                ),
            ],
            hint="each step subtracts lr times softmax minus one-hot",
        )
    ends = np.asarray(attempt(frozen(np.zeros(10)), 0, 0.1, 10_000))
    near(ends[0] - ends[1:].mean(), 9.202473, 1e-4, "the gap after descend(zeros, 0, 0.1, 10000)")
    holds(
        abs(ends.sum()) < 1e-9,
        f"the logits sum to {ends.sum():.2g} after descending from zeros",
        "the gradient sums to 0, so the sum of the logits stays",
    )


def check_time_to_probability(attempt):
    for prob, num_classes, time in [
        (0.5, 10, 2.777502),
        (0.9, 10, 11.955004),
        (0.999, 10, 907.193504),
        (0.9, 2, 5.098612),
    ]:
        gap = math.log((num_classes - 1) * prob / (1 - prob))
        same(
            attempt(prob, num_classes),
            time,
            f"time_to_probability({prob}, {num_classes})",
            tolerance=1e-6,
            mistakes=[
                (gap, "this is the gap; put it into the equation for the time"),
                (num_classes * time, "divide by K"),
            ],
            hint="first the gap that gives the probability, then the time that gives the gap",
        )
    same(
        attempt(1 / 7, 7),
        0.0,
        "time_to_probability(1/7, 7)",
        hint="equal logits give 1/K at time 0",
    )


def check_gap_at_time(attempt):
    for time, num_classes, gap in [
        (0.0, 10, 0.0),
        (1.0, 2, 0.792060),
        (10.0, 10, 4.152978),
        (1e3, 10, 9.202125),
        (1e3, 1000, 13.801628),
        (1e6, 2, 14.508651),
        (1e6, 1000, 20.723245),
    ]:
        call = f"gap_at_time({time:g}, {num_classes})"
        got = attempt(time, num_classes)
        same(
            got,
            gap,
            call,
            tolerance=1e-6,
            mistakes=[(math.log1p(num_classes * time), "this is the limit for long times only")],
            hint="the left side, exp(gap) - 1 + (K - 1) gap, must come to K time",
        )
        left = math.expm1(float(got)) + (num_classes - 1) * float(got)
        holds(
            abs(left - num_classes * time) <= 1e-8 * max(1.0, num_classes * time),
            f"at {call} the two sides of the equation differ by {left - num_classes * time:.2g}",
            "search on: ten digits are asked for",
        )
