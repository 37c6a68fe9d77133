"""Exercises of chapter 11, soften the target.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 11

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def smooth_row(target, num_classes, epsilon):
    """Return the smoothed target q' of one example, shape (num_classes,), as the paper has it.

    Keep 1 - epsilon of the one-hot row and spread epsilon evenly over all the classes, the right
    one included. ``target`` is an integer.
    """
    raise NotImplementedError


def smoothed_loss(logits, target, epsilon):
    """Return the cross-entropy of softmax(logits) under q', one number in nats.

    ``logits`` has shape (K,). Build neither a one-hot row nor q': two sums over the logarithms of
    the probabilities are enough. Logits of a thousand must not overflow.
    """
    raise NotImplementedError


def smoothed_gradient(logits, target, epsilon):
    """Return the gradient of ``smoothed_loss`` with respect to the logits, shape (K,)."""
    raise NotImplementedError


def redraw_labels(targets, num_classes, epsilon, rng):
    """Return the labels after the paper's story: keep each with probability 1 - epsilon.

    The others are drawn afresh from all the classes, so that a redrawn label can come out as it
    was. ``targets`` is an integer array of shape (N,) and stays as it is; ``rng`` is a
    ``numpy.random.Generator``.
    """
    raise NotImplementedError
