"""Checks of chapter 01: a softmax that survives, its inverse, and its two extremes."""

import numpy as np

from tinysmooth.chapters.expect import frozen, holds, same


def check_softmax(attempt):
    rng = np.random.default_rng(1)
    logits = np.array([2.0, 1.0, 0.0, -1.0, 0.5])
    # exp of each, from a pocket calculator
    by_hand = np.array([7.3890561, 2.7182818, 1.0, 0.3678794, 1.6487213])
    same(
        attempt(frozen(logits)),
        by_hand / by_hand.sum(),
        "softmax([2, 1, 0, -1, 0.5])",
        tolerance=1e-7,
        mistakes=[
            (by_hand, "divide the exponentials by their sum"),
            (by_hand / by_hand.max(), "divide by the sum of the exponentials, not by the largest"),
            (logits / logits.sum(), "take the exponential of each score first"),
            (logits - np.log(by_hand.sum()), "these are the logarithms of the probabilities"),
        ],
        hint="exponentials, divided by their sum",
    )
    for shape, axis in [((4, 3), -1), ((4, 3), 0), ((2, 3, 5), 1)]:
        scores = frozen(rng.normal(scale=2.0, size=shape))
        whole = np.exp(scores) / np.exp(scores).sum()
        same(
            attempt(scores, axis=axis),
            _softmax(scores, axis),
            f"softmax(scores of shape {shape}, axis={axis})",
            mistakes=[
                (
                    _softmax(scores, -1),
                    "this is the softmax along the last axis; mind the argument",
                ),
                (whole, "take the sum along the axis, not over the whole array"),
            ],
            hint="sum with keepdims=True, so that the division meets its own row",
        )
    for size in (1000.0, -1000.0):
        same(
            attempt(frozen([size, size + 1.0, size])),
            _softmax(np.array([0.0, 1.0, 0.0]), -1),
            f"softmax([{size:.0f}, {size + 1:.0f}, {size:.0f}])",
            hint="subtract the largest logit before the exponential: softmax does not notice",
        )
    rows = frozen([[1000.0, 1001.0], [-1001.0, -1000.0]])
    same(
        attempt(rows),
        _softmax(np.array([[0.0, 1.0], [0.0, 1.0]]), -1),
        "softmax([[1000, 1001], [-1001, -1000]])",
        hint="each row needs the largest logit of its own; that of the whole array sends the other "
        "row to 0 / 0",
    )


def check_recover_logits(attempt):
    rng = np.random.default_rng(2)
    for num_classes in (2, 3, 10):
        logits = rng.normal(scale=2.0, size=num_classes)
        probs = frozen(_softmax(logits, -1))
        call = f"recover_logits({_row(probs)})"
        got = attempt(probs)
        same(
            got,
            logits - logits.mean(),
            call,
            mistakes=[
                (np.log(probs), "right up to a shift: now make the mean 0"),
                (probs - probs.mean(), "take the logarithms of the probabilities first"),
                (np.log(probs) - np.log(probs.mean()), "subtract the mean of the logarithms"),
                (np.log(probs / (1 - probs)), "these are the log-odds of each class on its own"),
            ],
            hint="a logit is a log-probability plus a number that is the same for all classes",
        )
        mean = float(np.mean(np.asarray(got)))
        holds(abs(mean) < 1e-12, f"{call} has a mean of {mean:.2g}, expected 0")


def check_tempered_softmax(attempt):
    logits = frozen([2.0, 1.0, 0.0, -1.0])
    for temperature in (0.5, 1.0, 3.0):
        same(
            attempt(logits, temperature),
            _softmax(logits / temperature, -1),
            f"tempered_softmax([2, 1, 0, -1], {temperature})",
            mistakes=[
                (_softmax(logits * temperature, -1), "divide by the temperature"),
                (_softmax(logits, -1), "the temperature has no effect"),
            ],
        )
    same(attempt(logits, np.inf), np.full(4, 0.25), "tempered_softmax([2, 1, 0, -1], inf)")
    same(
        attempt(logits, 0.0),
        [1.0, 0.0, 0.0, 0.0],
        "tempered_softmax([2, 1, 0, -1], 0)",
        hint="division by 0 is no way there: treat temperature 0 on its own",
    )
    same(
        attempt(frozen([1.0, 3.0, 3.0]), 0.0),
        [0.0, 0.5, 0.5],
        "tempered_softmax([1, 3, 3], 0)",
        mistakes=[([0.0, 1.0, 0.0], "argmax sees the first winner only; here two share")],
        hint="several largest logits share the probability",
    )
    same(
        attempt(frozen([500.0, 501.0]), 1e-3),
        [0.0, 1.0],
        "tempered_softmax([500, 501], 0.001)",
        hint="a low temperature makes large logits: subtract the largest before the exponential",
    )


def _softmax(logits, axis):
    exponentials = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def _row(values):
    return "[" + ", ".join(f"{value:.3g}" for value in values) + "]"
