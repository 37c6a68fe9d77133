"""Checks of chapter 10: a product of norms, the slope of a probability, changes of one pixel."""

import numpy as np

import tinysmooth as ts
from tinysmooth.chapters.expect import frozen, holds, numerical_gradient, same


def check_spectral_product(attempt):
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    weights = [frozen(2.0 * turn), frozen([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])]
    same(
        attempt(weights),
        6.0,
        "spectral_product([2 times a rotation, diag(3, 1)])",
        mistakes=[
            (
                np.sqrt(8.0) * np.sqrt(10.0),
                "this is the Frobenius norm; ask for the largest singular value",
            ),
            (5.0, "multiply, do not add"),
            (0.0, "an eigenvalue is not a singular value"),
        ],
        hint="np.linalg.norm(matrix, ord=2)",
    )
    rng = np.random.default_rng(10)
    weights = [frozen(rng.normal(size=shape)) for shape in ((5, 3), (4, 5), (2, 4))]
    want = np.prod([np.linalg.svd(weight, compute_uv=False)[0] for weight in weights])
    same(
        attempt(weights),
        want,
        "spectral_product(three matrices)",
        hint="one factor for each matrix, whatever its shape",
    )
    same(attempt(weights[:1]), np.linalg.svd(weights[0])[1][0], "spectral_product(one matrix)")


def check_probability_slope(attempt):
    rng = np.random.default_rng(11)
    for num_classes, pixels, target in [(2, 3, 0), (5, 4, 3), (10, 1, 9)]:
        slopes, x = frozen(rng.normal(size=(num_classes, pixels))), rng.normal(size=pixels)
        probs = frozen(ts.softmax(slopes @ x).data)
        truth = numerical_gradient(
            lambda point, s=slopes, t=target: float(ts.softmax(s @ point).data[t]), x
        )
        same(
            attempt(probs, slopes, target),
            truth,
            f"probability_slope(probs ({num_classes},), logit_slopes ({num_classes}, {pixels}), "
            f"{target})",
            tolerance=1e-8,
            mistakes=[
                (slopes[target], "this is the slope of the logit"),
                (probs[target] * slopes[target], "the other logits count too"),
                (
                    probs[target] * (1 - probs[target]) * slopes[target],
                    "the other logits have slopes of their own",
                ),
                (truth / probs[target], "this is the slope of log p; multiply by p"),
            ],
            hint="p_y times (the logit's slope minus the mean slope under p)",
        )


def check_one_pixel_flips(attempt):
    weight = np.array([[1.0, 0.0, 0.0, 0.4], [0.0, 1.0, 0.3, 0.0]])

    def predict(images):
        return images @ weight.T

    image = frozen([0.6, 0.5, 0.5, 0.5])
    got = attempt(predict, image)
    want = _count(predict, image, (0.0, 1.0))
    holds(isinstance(got, int | np.integer), f"one_pixel_flips gave {got!r}, expected an integer")
    same(
        got,
        want,
        "one_pixel_flips(predict, [0.6, 0.5, 0.5, 0.5])",
        mistakes=[
            (8, "count the changes that change the answer, not all"),
            (8 - want, "count the changes of the answer, not what leaves it as it is"),
            (_pixels(predict, image, (0.0, 1.0)), "a pixel that flips at both values counts twice"),
        ],
        hint="change one pixel at a time, starting from the unchanged image each time",
    )
    rng = np.random.default_rng(12)
    weight = rng.normal(size=(3, 6))
    for values in [(0.0, 1.0), (0.0, 0.5, 1.0), (2.0,)]:
        image = frozen(rng.random(6))
        same(
            attempt(predict, image, values),
            _count(predict, image, values),
            f"one_pixel_flips(predict, image of shape (6,), {values})",
            hint="try every pixel with every one of the values",
        )


def _changed(predict, image, values):
    before = predict(image[None])[0].argmax()
    for pixel in range(len(image)):
        for value in values:
            other = image.copy()
            other[pixel] = value
            yield pixel, predict(other[None])[0].argmax() != before


def _count(predict, image, values):
    return sum(int(flipped) for _, flipped in _changed(predict, image, values))


def _pixels(predict, image, values):
    return len({pixel for pixel, flipped in _changed(predict, image, values) if flipped})
