"""Exercises of chapter 09, the price of changing your mind.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 9

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def steps_to_flip(logits, target, lr, epsilon=0.0):
    """Return how many steps of gradient descent it takes until the largest logit is ``target``'s.

    The loss is the smoothed cross-entropy of the new label ``target``; the logits themselves are
    learnt. 0 if ``target`` has the largest logit already. ``logits`` stays as it is.
    """
    raise NotImplementedError


def flip_bounds(gap, lr, epsilon=0.0):
    """Return (lower, upper): the number of steps to flip is above ``lower`` and at most ``upper``.

    Every step moves the difference between the two logits by more than lr (1 - epsilon) and by less
    than lr (2 - epsilon). ``upper`` is a whole number.
    """
    raise NotImplementedError


def unlearning_time(gap):
    """Return the exact time to unlearn a gap between two classes, one-hot target, on the flow.

    Time is learning rate times steps; the gap D of the old class obeys D' = -2 / (1 + exp(-D)).
    """
    raise NotImplementedError
