"""Checks of chapter 05: convolution and its adjoint, winners of a pool, batch normalisation."""

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, same

SETTINGS = [
    ((1, 1, 4, 4), (1, 1, 2, 2), 1, 0),
    ((2, 3, 5, 6), (4, 3, 3, 2), 1, 1),
    ((1, 2, 7, 7), (3, 2, 3, 3), 2, 1),
    ((2, 1, 6, 5), (2, 1, 1, 1), 2, 0),
    ((1, 2, 8, 6), (2, 2, 3, 3), 3, 0),
]


def check_convolve(attempt):
    rng = np.random.default_rng(5)
    for shape, filters, stride, padding in SETTINGS:
        x, weight = frozen(rng.normal(size=shape)), frozen(rng.normal(size=filters))
        turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1])
        same(
            attempt(x, weight, stride, padding),
            ts.conv2d(x, weight, stride=stride, padding=padding).data,
            f"convolve(x of shape {shape}, weight of shape {filters}, {stride}, {padding})",
            mistakes=[
                (
                    ts.conv2d(x, turned, stride=stride, padding=padding).data,
                    "the filter is upside down: in deep learning it is not turned",
                ),
                (
                    np.zeros_like(ts.conv2d(x, weight, stride=stride, padding=padding).data),
                    "everything is 0; was the result ever written?",
                ),
            ],
            hint="the result has (H + 2 padding - R) // stride + 1 rows, columns likewise, and "
            "window (i, j) begins at (i stride, j stride) of the padded image",
        )


def check_convolve_pullback(attempt):
    rng = np.random.default_rng(6)
    for shape, filters, stride, padding in SETTINGS:
        x, weight = frozen(rng.normal(size=shape)), frozen(rng.normal(size=filters))
        leaf = ts.Tensor(x, requires_grad=True)
        out = ts.conv2d(leaf, weight, stride=stride, padding=padding)
        grad = frozen(rng.normal(size=out.shape))
        out.backward(grad)
        call = (
            f"convolve_pullback(grad, weight of shape {filters}, {shape}, stride {stride}, "
            f"padding {padding})"
        )
        got = attempt(grad, weight, shape, stride, padding)
        same(
            got,
            leaf.grad,
            call,
            hint="each output sends grad * weight to the window that it came from; shares add up "
            "where windows overlap, and the frame of the padding is cut off at the end",
        )
        left, right = float((out.data * grad).sum()), float((x * np.asarray(got)).sum())
        holds(
            abs(left - right) < 1e-9 * max(1.0, abs(left)),
            f"{call} fails the dot-product test: {left:.10g} against {right:.10g}",
        )


def check_max_pool_pullback(attempt):
    ties = frozen([[[[7.0, 7.0, 1.0, 2.0], [7.0, 0.0, 2.0, 1.0]]]])
    ones = frozen(np.ones((1, 1, 1, 2)))
    same(
        attempt(ties, ones),
        [[[[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]]],
        "max_pool_pullback([[7, 7, 1, 2], [7, 0, 2, 1]], ones)",
        mistakes=[
            (
                [[[[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]]]],
                "at a tie only one of them gets the gradient: the first in reading order",
            ),
            (
                [[[[1 / 3, 1 / 3, 0.0, 0.5], [1 / 3, 0.0, 0.5, 0.0]]]],
                "do not share the gradient at a tie: the first one in reading order gets all",
            ),
            (
                [[[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]]],
                "reading order is row by row; you went down the columns",
            ),
        ],
        hint="find the first largest number of each 2 x 2 window",
    )
    rng = np.random.default_rng(7)
    for shape in ((2, 3, 4, 6), (1, 1, 2, 2)):
        leaf = ts.Tensor(rng.normal(size=shape), requires_grad=True)
        out = ts.max_pool2d(leaf, 2)
        grad = frozen(rng.normal(size=out.shape))
        out.backward(grad)
        call = f"max_pool_pullback(x of shape {shape}, grad)"
        hint = "each number of the result sends its gradient to the winner of its own window"
        same(attempt(frozen(leaf.numpy()), grad), leaf.grad, call, hint=hint)


def check_batch_norm_pullback(attempt):
    rng = np.random.default_rng(8)
    for shape, eps in (((6, 3), 1e-5), ((20, 2), 0.1)):
        x = frozen(rng.normal(2.0, 3.0, size=shape))
        gamma, grad = frozen(rng.normal(size=shape[1])), frozen(rng.normal(size=shape))
        leaf = ts.Tensor(x, requires_grad=True)
        ts.batch_norm(leaf, gamma, np.zeros(shape[1]), None, None, True, eps=eps).backward(grad)
        scale = 1 / np.sqrt(x.var(axis=0) + eps)
        g, x_hat = gamma * grad, (x - x.mean(axis=0)) * scale
        call = f"batch_norm_pullback(x of shape {shape}, gamma, grad, eps={eps})"
        same(
            attempt(x, gamma, grad, eps),
            leaf.grad,
            call,
            mistakes=[
                (scale * g, "mean and variance depend on x, too: two more terms"),
                (
                    scale * (g - g.mean(axis=0)),
                    "the mean is right; the variance depends on x, too: take away the part along "
                    "the normalised x",
                ),
                (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0), "divide by the deviation"),
                (
                    scale * (grad - grad.mean(axis=0) - x_hat * (grad * x_hat).mean(axis=0)),
                    "gamma scales the gradient before all else",
                ),
            ],
            hint="(g - mean(g) - x_hat mean(g x_hat)) / deviation, with g = gamma * grad",
        )
