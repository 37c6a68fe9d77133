"""Exercises of chapter 13, a drop-in loss.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 13

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def weighted_mean_loss(log_probs, targets, weight, epsilon, ignore_index=-100):
    """Return the mean smoothed loss as PyTorch defines it, one number; NaN if no row counts.

    ``log_probs`` (N, K), integer ``targets`` (N,), class weights ``weight`` (K,). A row costs
    (1 - epsilon) w_y (-log p_y) + (epsilon / K) sum_k w_k (-log p_k). Rows whose target is
    ``ignore_index`` count nowhere. The sum is divided by the summed weights of the true classes.
    """
    raise NotImplementedError


def weighted_optimum(target, weight, epsilon):
    """Return the probabilities, shape (K,), at which the weighted smoothed loss is smallest."""
    raise NotImplementedError


def to_all_classes(epsilon, num_classes):
    """Return the epsilon over all classes that gives the same target as ``epsilon`` over the wrong.

    The one puts epsilon / K on every class, the other epsilon / (K - 1) on every wrong class.
    """
    raise NotImplementedError
