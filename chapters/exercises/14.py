"""Exercises of chapter 14, train it for real.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 14

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def mean_gap(logits, targets):
    """Return the mean, over examples, of the right logit minus the mean of the others.

    ``logits`` (N, K), integer ``targets`` (N,); one number.
    """
    raise NotImplementedError


def calibration_error(probs, targets, num_bins=15):
    """Return the mean of |accuracy - confidence| over bins of confidence, one number.

    The confidence of an example is its largest probability. The bins have equal width from 0 to 1;
    a confidence on an edge belongs to the bin below it. A bin weighs as much as the share of
    examples in it. ``probs`` (N, K), integer ``targets`` (N,).
    """
    raise NotImplementedError


def paired_difference(first, second):
    """Return (mean, standard error) of ``second - first``, taken pair by pair.

    Both are arrays of shape (R,), R >= 2: one number from each run, the runs of one seed in the
    same place. The standard error is the standard deviation of the differences, with R - 1 in the
    denominator, divided by the square root of R.
    """
    raise NotImplementedError
