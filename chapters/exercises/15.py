"""Exercises of chapter 15, how to read a paper.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 15

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def two_losses(logits, target, prior, epsilon):
    """Return the two parts (1 - epsilon) H(q, p) and epsilon H(u, p) of the smoothed loss.

    ``logits`` (K,); ``target`` an integer, q is one-hot there; ``prior`` (K,) is u. Their sum is
    the loss. Logits of a thousand must not overflow.
    """
    raise NotImplementedError


def standard_error(accuracy, count):
    """Return the standard error of an accuracy measured on ``count`` examples.

    Both are shares: an accuracy of 0.8 on 50000 examples has a standard error of about 0.0018.
    """
    raise NotImplementedError


def severest(verdicts):
    """Return the verdict on a claim from a list of verdicts on it.

    From mild to severe: "not tested here", "holds", "holds under a condition", "fails as stated".
    The most severe one counts; "not on record" if the list is empty.
    """
    raise NotImplementedError
