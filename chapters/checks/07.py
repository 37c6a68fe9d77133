"""Checks of chapter 07: a gap from a probability, a loss that keeps its digits, rounding."""

import math

import numpy as np

from tinysmooth.chapters.expect import frozen, holds, near, same

THRESHOLDS = {np.float32: 24 * math.log(2), np.float64: 53 * math.log(2)}


def check_gap_for_probability(attempt):
    for prob, num_classes, gap in [
        (0.9, 10, 4.394449154672439),
        (0.5, 2, 0.0),
        (0.999, 1000, 13.813509557963775),
        (0.01, 10, -2.3978952727983707),
    ]:
        log_odds = math.log(prob / (1 - prob))
        same(
            attempt(prob, num_classes),
            gap,
            f"gap_for_probability({prob}, {num_classes})",
            mistakes=[
                (
                    log_odds,
                    "this is right for two classes; the others are num_classes - 1 together",
                ),
                (log_odds + math.log(num_classes), "the other classes are num_classes - 1"),
                (-gap, "the sign is turned: a probable class stands above the others"),
                (math.log(prob), "this is the log-probability; solve the formula for the gap"),
            ],
            hint="exp(-gap) = (1 - prob) / (prob (num_classes - 1))",
        )
        back = 1 / (1 + (num_classes - 1) * math.exp(-float(attempt(prob, num_classes))))
        near(back, prob, 1e-12, f"the probability at gap_for_probability({prob}, {num_classes})")


def check_confident_loss(attempt):
    rng = np.random.default_rng(7)
    for size in (1, 4, 9):
        gaps = frozen(rng.normal(scale=2.0, size=size))
        same(
            attempt(gaps),
            np.log(1 + np.exp(-gaps).sum()),
            f"confident_loss({np.round(gaps, 2).tolist()})",
            tolerance=1e-12,
            hint="log(1 + the sum of exp(-gap))",
        )
    for gap in (20.0, 30.0, 40.0, 200.0):
        gaps = frozen([gap, gap])
        got = float(attempt(gaps))
        want = math.log1p(2 * math.exp(-gap))
        plain = math.log(1 + 2 * math.exp(-gap))
        holds(
            abs(got / want - 1) < 1e-12,
            f"confident_loss([{gap:g}, {gap:g}]) is {got:.12g}, expected {want:.12g}: "
            f"relative error {abs(got / want - 1):.1g}",
            "1 + a tiny number rounds the tiny number away; np.log1p takes it without the 1"
            if got == plain
            else "keep the small sum apart from the 1",
        )
    same(
        attempt(frozen([-1000.0, -998.0])),
        1000 + math.log(1 + math.exp(-2)),
        "confident_loss([-1000, -998])",
        hint="exp(1000) overflows: take the largest of 0 and -gaps out of the sum first",
    )


def check_first_rounded_gap(attempt):
    for kind, threshold in THRESHOLDS.items():
        other = THRESHOLDS[np.float64 if kind is np.float32 else np.float32]
        call = f"first_rounded_gap(np.{kind.__name__})"
        got = attempt(kind)
        hint = "bisect: below the threshold the quotient is less than 1, from it on it is 1"
        if isinstance(got, float | np.floating) and abs(float(got) - other) < 0.05:
            hint = "the arithmetic runs in the wrong dtype; make every number one of it"
        near(got, threshold, 0.01, call, hint)
    one = np.float16(1)
    got = float(attempt(np.float16))
    holds(
        one / (one + np.exp(np.float16(-got - 0.02))) == one
        and one / (one + np.exp(np.float16(-got + 0.02))) < one,
        f"first_rounded_gap(np.float16) is {got:.4f}, which is not where the quotient becomes 1",
        "a 1 written as a plain number may be of another dtype",
    )
