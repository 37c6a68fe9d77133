"""Exercises of chapter 10, bumpy functions and one pixel.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 10

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def spectral_product(weights):
    """Return the product of the largest singular values of the matrices in the list ``weights``."""
    raise NotImplementedError


def probability_slope(probs, logit_slopes, target):
    """Return the gradient of p_target with respect to the input, shape (D,).

    ``probs`` has shape (K,), ``logit_slopes`` shape (K, D): row k is the gradient of logit k with
    respect to the input.
    """
    raise NotImplementedError


def one_pixel_flips(predict, image, values=(0.0, 1.0)):
    """Return how many changes of a single pixel change the predicted class, an integer.

    ``predict`` takes images of shape (N, D) and returns logits (N, K); ``image`` has shape (D,).
    Try every pixel with every one of ``values``; leave ``image`` as it is.
    """
    raise NotImplementedError
