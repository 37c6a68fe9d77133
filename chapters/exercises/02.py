"""Exercises of chapter 02, cross-entropy is expected surprise.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 2

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def entropy(q):
    """Return the entropy of the distribution ``q``, shape (K,), in nats.

    Entries may be 0: an event that never happens surprises nobody and adds nothing.
    """
    raise NotImplementedError


def cross_entropy(logits, q):
    """Return the cross-entropy of softmax(logits) under q, one number a row, shape (N,), in nats.

    ``logits`` and ``q`` have shape (N, K); the rows of q are distributions. Logits of a thousand
    must not overflow, and no probability may be rounded to 0 before its logarithm is taken.
    """
    raise NotImplementedError


def best_constant_prediction(labels, num_classes):
    """Return the one distribution, shape (num_classes,), with the least mean surprise.

    The same prediction is made for every one of the ``labels``, an integer array of shape (N,).
    """
    raise NotImplementedError
