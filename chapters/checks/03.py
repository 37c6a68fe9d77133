"""Checks of chapter 03: the logit gradient, two products, and a gradient checker."""

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, same
from tinysmooth.chapters.expect import numerical_gradient as slopes_of


def check_logit_gradient(attempt):
    rng = np.random.default_rng(7)
    logits, targets = frozen(rng.normal(scale=2.0, size=(3, 5))), frozen([4, 0, 4])
    want = ts.cross_entropy_gradient(logits, targets)
    probs = ts.softmax(logits).data
    call = "logit_gradient(logits of shape (3, 5), [4, 0, 4])"
    same(
        attempt(logits, targets),
        want,
        call,
        mistakes=[
            (3 * want, "right for the sum of the losses; the mean divides by N"),
            (-want, "the sign is turned: output minus target, not target minus output"),
            (want * 3 / 5, "divide by the number of rows, not of classes"),
            (probs / 3, "this is the output; subtract the target"),
        ],
        hint="softmax(logits), minus 1 at each row's target, divided by N",
    )
    total = np.abs(np.asarray(attempt(logits, targets)).sum(axis=1)).max()
    holds(total < 1e-12, f"{call}: a row sums to {total:.2g}, expected 0")
    same(
        attempt(frozen([[1000.0, 0.0], [-1000.0, 0.0]]), frozen([1, 1])),
        [[0.5, -0.5], [0.0, 0.0]],
        "logit_gradient([[1000, 0], [-1000, 0]], [1, 1])",
        hint="subtract each row's largest logit before the exponential",
    )


def check_softmax_pullback(attempt):
    rng = np.random.default_rng(8)
    for shape in ((4, 3), (2, 10)):
        probs, grad = (
            frozen(rng.dirichlet(np.ones(shape[1]), shape[0])),
            frozen(rng.normal(size=shape)),
        )
        jacobians = [np.diag(p) - np.outer(p, p) for p in probs]
        want = np.array([j.T @ g for j, g in zip(jacobians, grad, strict=True)])
        same(
            attempt(probs, grad),
            want,
            f"softmax_pullback(probs, grad) with shapes {shape}",
            mistakes=[
                (probs * grad, "this is diag(p) alone; take p (p . grad) away"),
                (probs * (1 - probs) * grad, "the entries off the diagonal, -p_j p_k, count too"),
                (
                    probs * (grad - (probs * grad).sum()),
                    "each row has a sum of its own: axis=1, keepdims=True",
                ),
                (grad - (probs * grad).sum(axis=1, keepdims=True), "multiply by p at the end"),
            ],
            hint="p * (grad - sum(p * grad)), row by row",
        )


def check_hessian_times(attempt):
    rng = np.random.default_rng(9)
    for num_classes in (2, 3, 8):
        probs = frozen(rng.dirichlet(np.ones(num_classes)))
        v = frozen(rng.normal(size=num_classes))
        want = (np.diag(probs) - np.outer(probs, probs)) @ v
        same(
            attempt(probs, v),
            want,
            f"hessian_times(probs, v) with K = {num_classes}",
            mistakes=[
                (probs * v, "this is diag(p) v alone; take p (p . v) away"),
                (probs * (v - v.mean()), "the mean is weighted: p . v"),
                (float(v @ want), "this is the curvature v . H v; return the vector H v"),
            ],
            hint="diag(p) v is p * v, and p p^T v is p times the number p . v",
        )
    shift = np.asarray(attempt(probs, frozen(np.ones(8))))
    holds(
        np.abs(shift).max() < 1e-12, "H times (1, ..., 1) is not 0", "a common shift is invisible"
    )
    large = np.full(200_000, 1 / 200_000)
    same(attempt(frozen(large), frozen(large)), 0 * large, "hessian_times with K = 200,000")


def check_numerical_gradient(attempt):
    rng = np.random.default_rng(10)
    hint = "look both ways, (f(x + h) - f(x - h)) / 2h, with h near 1e-5"
    cases = [
        ("x -> (x ** 3).sum()", lambda x: (x**3).sum(), lambda x: 3 * x**2),
        (
            "x -> exp(x).prod()",
            lambda x: np.exp(x).prod(),
            lambda x: np.exp(x.sum()) * np.ones_like(x),
        ),
        ("x -> sin(3 x).sum()", lambda x: np.sin(3 * x).sum(), lambda x: 3 * np.cos(3 * x)),
    ]
    for name, function, slope in cases:
        for shape in ((3,), (2, 2)):
            point = frozen(rng.uniform(0.5, 1.0, size=shape))
            exact = slope(point)
            forward = np.array([_forward(function, point, i) for i in np.ndindex(shape)])
            same(
                attempt(function, point),
                exact,
                f"numerical_gradient({name}, point of shape {shape})",
                tolerance=1e-8,
                mistakes=[
                    (-exact, "the sign is turned"),
                    (exact / 2, "divide by the distance between the two points, 2h"),
                    (exact * 2, "the two points are 2h apart"),
                    (
                        forward.reshape(shape),
                        "only one side: the error falls with h, not h squared",
                    ),
                ],
                hint=hint,
            )
    near = slopes_of(lambda x: float(np.tanh(x).sum()), [0.3])
    got = attempt(lambda x: float(np.tanh(x).sum()), frozen([0.3]))
    same(got, near, "numerical_gradient(x -> tanh(x).sum(), [0.3])", tolerance=1e-8, hint=hint)


def _forward(function, point, index):
    up = point.copy()
    up[index] += 1e-5
    return (function(up) - function(point)) / 1e-5
