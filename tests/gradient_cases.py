"""One or more gradient checks for every primitive in the registry: name -> cases.

A case is (label, function on Tensors, inputs). Inputs are float64 and keep away from kinks, which
have tests of their own.
"""

import numpy as np

import tinysmooth as ts
from tinysmooth import ops


def numbers(*shape, seed=0):
    """Normal numbers with a magnitude of at least 0.1, away from the kinks at 0."""
    draws = np.random.default_rng((seed, *shape)).standard_normal(shape)
    return draws + np.copysign(0.1, draws)


def positive(*shape, seed=0):
    return np.abs(numbers(*shape, seed=seed)) + 0.5


def distinct(*shape, seed=0):
    """Numbers that differ by at least 0.1: no ties for maxima."""
    order = np.random.default_rng((seed, *shape)).permutation(int(np.prod(shape)))
    return (order * 0.1 - 1.03).reshape(shape)


def norm(x, w, b, *, training=True, **options):
    channels = x.shape[1]
    mean, var = np.linspace(-0.5, 0.5, channels), np.linspace(0.5, 1.5, channels)
    return ts.batch_norm(x, w, b, mean.copy(), var.copy(), training, **options)


def block(x, w, b, residual=None, *, training=True, **options):
    channels = x.shape[1]
    mean, var = np.linspace(-0.5, 0.5, channels), np.linspace(0.5, 1.5, channels)
    return ops.batch_norm_block(
        x, w, b, mean.copy(), var.copy(), training, residual=residual, **options
    )


def convolved(x, filters, w, b, residual=None, *, training=True, **options):
    channels = filters.shape[0]
    mean, var = np.linspace(-0.5, 0.5, channels), np.linspace(0.5, 1.5, channels)
    return ops.conv2d_block(
        *(x, filters, w, b, mean.copy(), var.copy(), training), residual=residual, **options
    )


A, B = numbers(3, 4), numbers(3, 4, seed=1)
ROW, COLUMN = numbers(4, seed=2), numbers(3, 1, seed=3)
IMAGES = numbers(2, 3, 6, 5)
SCALE, SHIFT = positive(3, seed=4), numbers(3, seed=5)

CASES = {
    "add": [("same", ts.ops.add, [A, B]), ("broadcast", ts.ops.add, [COLUMN, ROW])],
    "subtract": [("broadcast", ts.ops.subtract, [A, ROW])],
    "multiply": [("same", ts.ops.multiply, [A, B]), ("broadcast", ts.ops.multiply, [ROW, COLUMN])],
    "divide": [("same", ts.ops.divide, [A, B]), ("broadcast", ts.ops.divide, [A, COLUMN])],
    "power": [
        ("both", ts.ops.power, [positive(3, 4), B]),
        ("square", lambda x: x**2, [A]),
        ("cube", lambda x: x**3, [A]),
        ("zeroth", lambda x: (x**0) + x, [A]),
        ("reciprocal", lambda x: x**-1.0, [A]),
        ("base", lambda x: 2.0**x, [A]),
    ],
    "negative": [("plain", lambda x: -x, [A])],
    "exp": [("plain", ts.exp, [A])],
    "log": [("plain", ts.log, [positive(3, 4)])],
    "sqrt": [("plain", ts.sqrt, [positive(3, 4)])],
    "abs": [("plain", ts.abs, [A])],
    "maximum": [("broadcast", ts.maximum, [distinct(3, 4), np.array([0.02, 0.01, -0.5, 0.04])])],
    "minimum": [("broadcast", ts.minimum, [distinct(3, 4), np.array([0.02, 0.01, -0.5, 0.04])])],
    "where": [("mask", lambda a, b: ts.where(A > 0, a, b), [B, ROW])],
    "relu": [("plain", ts.relu, [A])],
    "sigmoid": [("plain", ts.sigmoid, [A]), ("far out", ts.sigmoid, [np.array([-30.0, 9.0])])],
    "tanh": [("plain", ts.tanh, [A])],
    "sum": [
        ("all", ts.sum, [A]),
        ("axis", lambda x: ts.sum(x, axis=0), [A]),
        ("axes kept", lambda x: ts.sum(x, axis=(0, 2), keepdims=True), [numbers(2, 3, 4)]),
        ("negative axis", lambda x: x.sum(axis=-1), [numbers(2, 3, 4)]),
    ],
    "mean": [("all", ts.mean, [A]), ("axes", lambda x: x.mean(axis=(0, -1)), [numbers(2, 3, 4)])],
    "max": [("all", ts.max, [distinct(3, 4)]), ("axis", lambda x: x.max(axis=1), [distinct(3, 4)])],
    "min": [("kept", lambda x: x.min(axis=0, keepdims=True), [distinct(3, 4)])],
    "reshape": [("worked out", lambda x: x.reshape(2, -1), [A])],
    "transpose": [
        ("reversed", ts.transpose, [numbers(2, 3, 4)]),
        ("ordered", lambda x: x.transpose(2, 0, 1), [numbers(2, 3, 4)]),
    ],
    "getitem": [
        ("slices", lambda x: x[1:, ::2], [A]),
        ("new axis", lambda x: x[None, ..., 0], [A]),
        ("repeated rows", lambda x: x[np.array([0, 2, 0])], [A]),
        ("mask", lambda x: x[A > 0], [A]),
        ("pairs", lambda x: x[np.arange(3), np.array([1, 1, 3])], [A]),
    ],
    "concatenate": [("axis 1", lambda a, b: ts.concatenate([a, b, a], axis=1), [A, B])],
    "stack": [("new axis", lambda a, b: ts.stack([a, b], axis=-1), [A, B])],
    "pad": [
        ("pairs", lambda x: ts.pad(x, ((1, 0), (2, 3)), value=1.5), [A]),
        ("all sides", lambda x: ts.pad(x, 1), [A]),
    ],
    "matmul": [
        ("matrices", ts.matmul, [A, numbers(4, 2)]),
        ("vectors", ts.matmul, [ROW, numbers(4)]),
        ("vector matrix", ts.matmul, [ROW, numbers(4, 2)]),
        ("matrix vector", ts.matmul, [A, ROW]),
        ("stacks", ts.matmul, [numbers(2, 1, 3, 4), numbers(5, 4, 2)]),
        ("stack vector", ts.matmul, [numbers(2, 3, 4), ROW]),
    ],
    "linear": [
        ("bias", ts.linear, [A, numbers(5, 4), numbers(5)]),
        ("stack", ts.linear, [numbers(2, 3, 4), numbers(5, 4)]),
    ],
    "linear_relu": [
        ("bias", ops.linear_relu, [numbers(2, 3, 4), numbers(5, 4, seed=1), numbers(5, seed=2)]),
        ("no bias, one row", ops.linear_relu, [numbers(4), numbers(5, 4, seed=1)]),
    ],
    "dropout": [
        ("seeded", lambda x: ts.dropout(x, 0.4, True, np.random.default_rng(0)), [A]),
        ("evaluation", lambda x: ts.dropout(x, 0.4, False), [A]),
    ],
    "conv2d": [
        ("plain", lambda x, w: ts.conv2d(x, w, padding=1), [IMAGES, numbers(4, 3, 3, 3)]),
        (
            "bias, stride",
            lambda x, w, b: ts.conv2d(x, w, b, stride=(2, 1), padding=(0, 2)),
            [IMAGES, numbers(2, 3, 3, 2), numbers(2)],
        ),
        ("1x1", lambda x, w: ts.conv2d(x, w, stride=2), [IMAGES, numbers(2, 3, 1, 1)]),
        ("5x5", lambda x, w: ts.conv2d(x, w, padding=2), [IMAGES, numbers(2, 3, 5, 5)]),
    ],
    "max_pool2d": [
        ("plain", lambda x: ts.max_pool2d(x, 2), [distinct(2, 3, 6, 5)]),
        ("overlap", lambda x: ts.max_pool2d(x, 3, 2, 1), [distinct(2, 3, 6, 5)]),
    ],
    "avg_pool2d": [
        ("plain", lambda x: ts.avg_pool2d(x, 2), [IMAGES]),
        ("overlap", lambda x: ts.avg_pool2d(x, 3, (2, 1), 1), [IMAGES]),
    ],
    "global_avg_pool2d": [("plain", ts.global_avg_pool2d, [IMAGES])],
    "batch_norm": [
        ("training", norm, [IMAGES, SCALE, SHIFT]),
        ("evaluation", lambda *a: norm(*a, training=False), [IMAGES, SCALE, SHIFT]),
        ("features", norm, [numbers(5, 3), SCALE, SHIFT]),
    ],
    "batch_norm_block": [
        ("relu", block, [IMAGES, SCALE, SHIFT]),
        ("pool, odd width", lambda *a: block(*a, pool=True), [IMAGES, SCALE, SHIFT]),
        ("residual", block, [IMAGES, SCALE, SHIFT, numbers(2, 3, 6, 5, seed=9)]),
        (
            "all in evaluation",
            lambda *a: block(*a, pool=True, training=False),
            [IMAGES, SCALE, SHIFT, numbers(2, 3, 3, 2, seed=9)],
        ),
        ("nothing follows", lambda *a: block(*a, relu=False), [IMAGES, SCALE, SHIFT]),
    ],
    "conv2d_block": [
        (
            "pool, padding",
            lambda *a: convolved(*a, pool=True, padding=1),
            [IMAGES, numbers(4, 3, 3, 2), positive(4, seed=4), numbers(4, seed=5)],
        ),
        (
            "residual, stride, in evaluation",
            lambda *a: convolved(*a, stride=(2, 1), training=False),
            [IMAGES, numbers(3, 3, 2, 2), SCALE, SHIFT, numbers(2, 3, 3, 4, seed=9)],
        ),
        (
            "bias of the filters, in evaluation",
            lambda x, w, s, b, c: convolved(x, w, s, b, filters_bias=c, training=False),
            [IMAGES, numbers(3, 3, 2, 2), SCALE, SHIFT, numbers(3, seed=9)],
        ),
    ],
    "conv2d_relu": [
        (
            "bias, pool, padding",
            lambda *a: ops.conv2d_relu(*a, pool=True, padding=1),
            [IMAGES, numbers(4, 3, 3, 2), numbers(4, seed=5)],
        ),
        (
            "bias, stride",
            lambda *a: ops.conv2d_relu(*a, stride=(2, 1)),
            [IMAGES, numbers(2, 3, 2, 2), numbers(2, seed=5)],
        ),
        ("no bias", ops.conv2d_relu, [IMAGES, numbers(4, 3, 3, 3)]),
    ],
    "cross_entropy": [
        ("one-hot", lambda z: ts.cross_entropy(z, [1, 0, 3]), [A]),
        (
            "smoothed, weighted, summed",
            lambda z: ts.cross_entropy(
                z, [1, -100, 3], label_smoothing=0.1, weight=np.arange(1.0, 5.0), reduction="sum"
            ),
            [A],
        ),
        (
            "images, each pixel",
            lambda z: ts.cross_entropy(
                z, np.arange(12).reshape(2, 2, 3) % 4, label_smoothing=0.3, reduction="none"
            ),
            [numbers(2, 4, 2, 3)],
        ),
        ("probabilities", lambda z: ts.cross_entropy(z, np.full((3, 4), 0.25)), [A]),
    ],
    "softmax": [("rows", ts.softmax, [A]), ("axis 0", lambda x: ts.softmax(x, axis=0), [A])],
    "log_softmax": [("rows", ts.log_softmax, [A])],
    "logsumexp": [
        ("rows", ts.logsumexp, [A]),
        ("kept", lambda x: ts.logsumexp(x, axis=0, keepdims=True), [A]),
    ],
    "confidence_penalty": [
        ("mean", lambda z: ts.confidence_penalty(z, 0.3), [A]),
        ("each pixel", lambda z: ts.confidence_penalty(z, 0.3, reduction="none"), [IMAGES]),
    ],
    "logit_penalty": [("mean", lambda z: ts.logit_penalty(z, 0.3), [A])],
    "forward_correction": [
        ("rate", lambda z: ts.forward_correction(z, [1, 0, 3], 0.2), [A]),
        (
            "matrix",
            lambda z: ts.forward_correction(
                z, [1, 0, 3], 0.7 * np.eye(4) + 0.3 * np.eye(4)[[1, 2, 3, 0]], reduction="none"
            ),
            [A],
        ),
    ],
}
