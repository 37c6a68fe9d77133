"""Exercises of chapter 12, a resting place.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 12

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def gap_at_rest(num_classes, epsilon):
    """Return the gap at which the smoothed loss is smallest; infinity for epsilon 0.

    At rest the softmax equals the smoothed target.
    """
    raise NotImplementedError


def epsilon_for_gap(gap, num_classes):
    """Return the epsilon that lets the gap rest at ``gap``, a number from 0 on."""
    raise NotImplementedError


def rest_with_prior(prior, target, epsilon):
    """Return logits at which the loss with the target (1 - epsilon) one-hot + epsilon prior rests.

    ``prior`` has shape (K,) and sums to 1, with no entry 0. Of all the shifts of the answer, return
    the one whose logits have the mean 0.
    """
    raise NotImplementedError


def time_to_gap(gap, num_classes, epsilon):
    """Return the time that the flow from equal logits takes to a gap below its resting value.

    Time is learning rate times steps. With A = exp(resting gap) and q_y = 1 - epsilon + epsilon / K
    it is ((K - 1) gap / A + log((A - 1) / (A - exp(gap))) / q_y) / epsilon.
    """
    raise NotImplementedError
