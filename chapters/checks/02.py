"""Checks of chapter 02: entropy, cross-entropy from logits, and the cheapest constant."""

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, same


def check_entropy(attempt):
    halves = frozen([0.5, 0.25, 0.25])
    same(
        attempt(halves),
        1.5 * np.log(2.0),
        "entropy([0.5, 0.25, 0.25])",
        mistakes=[
            (1.5, "these are bits; a nat comes from the natural logarithm"),
            (-1.5 * np.log(2.0), "the sign is turned: a surprise is minus a logarithm"),
            (-np.log(halves).sum(), "weigh each surprise with its probability"),
            (-np.log(halves).mean(), "weigh each surprise with its probability"),
            (-halves * np.log(halves), "add up the terms"),
        ],
    )
    same(attempt(frozen(np.full(10, 0.1))), np.log(10.0), "entropy of ten equal probabilities")
    same(
        attempt(frozen([0.0, 1.0, 0.0])),
        0.0,
        "entropy([0, 1, 0])",
        hint="0 times log 0 is NaN for NumPy; leave these entries out",
    )
    same(attempt(frozen([0.0, 0.5, 0.5])), np.log(2.0), "entropy([0, 0.5, 0.5])")


def check_cross_entropy(attempt):
    rng = np.random.default_rng(5)
    logits, q = frozen(rng.normal(scale=2.0, size=(4, 6))), frozen(rng.dirichlet(np.ones(6), 4))
    rows = ts.cross_entropy(logits, q, reduction="none").data
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    same(
        attempt(logits, q),
        rows,
        "cross_entropy(logits, q) with shapes (4, 6)",
        mistakes=[
            (-rows, "the sign is turned"),
            (rows.mean(), "return one number a row, not their mean"),
            (-(probs * np.log(q)).sum(axis=1), "the roles are swapped: average over q"),
            (rows + (q * np.log(q)).sum(axis=1), "this is the divergence: the entropy is missing"),
            (rows / np.log(2.0), "these are bits; a nat comes from the natural logarithm"),
        ],
        hint="LSE(z) - q.z for each row",
    )
    for size in (1000.0, -1000.0):
        same(
            attempt(frozen([[size, size + 2.0], [0.0, 0.0]]), frozen([[0.5, 0.5], [1.0, 0.0]])),
            [np.log1p(np.exp(-2.0)) + 1.0, np.log(2.0)],
            f"cross_entropy([[{size:.0f}, {size + 2:.0f}], [0, 0]], [[0.5, 0.5], [1, 0]])",
            hint="subtract each row's largest logit before the exponential",
        )
    same(
        attempt(frozen([[0.0, -900.0]]), frozen([[0.0, 1.0]])),
        [900.0],
        "cross_entropy([[0, -900]], [[0, 1]])",
        hint="the probability exp(-900) is rounded to 0; never take the logarithm of a softmax",
    )


def check_best_constant_prediction(attempt):
    labels = frozen([2, 0, 2, 2, 1, 0, 2, 2])
    got = attempt(labels, 4)
    same(
        got,
        [0.25, 0.125, 0.625, 0.0],
        "best_constant_prediction([2, 0, 2, 2, 1, 0, 2, 2], 4)",
        mistakes=[
            ([0.25] * 4, "that is the best guess of somebody who has seen no labels"),
            ([0.0, 0.0, 1.0, 0.0], "betting all on the commonest class costs infinitely much"),
            ([2.0, 1.0, 5.0, 0.0], "these are counts; make them shares"),
        ],
        hint="the mean surprise is a cross-entropy with the observed shares; when is it smallest?",
    )
    shares = np.asarray(got)
    holds(np.isclose(shares.sum(), 1.0), f"the prediction adds up to {shares.sum():.6g}, not 1")
    same(attempt(frozen([0, 0]), 1), [1.0], "best_constant_prediction([0, 0], 1)")
