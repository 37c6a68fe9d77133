"""Exercises of chapter 08, the slow march to infinity.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 8

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def descend(logits, target, lr, steps):
    """Return the logits after ``steps`` steps of gradient descent on the one-hot loss, shape (K,).

    The logits themselves are what is learnt: there is no network. ``logits`` stays as it is.
    """
    raise NotImplementedError


def time_to_probability(prob, num_classes):
    """Return the time at which the flow from equal logits gives the right class ``prob``.

    Time is learning rate times steps, and exp(gap) - 1 + (K - 1) gap = K time.
    """
    raise NotImplementedError


def gap_at_time(time, num_classes):
    """Return the gap after ``time``, by solving the same equation for the gap, to ten digits.

    The left side grows with the gap and bends upwards, so Newton's method or bisection finds it.
    It must work for times from 0 to 1e6 and for 2 to 1000 classes, without overflow.
    """
    raise NotImplementedError
