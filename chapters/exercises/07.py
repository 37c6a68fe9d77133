"""Exercises of chapter 07, the maximum nobody reaches.

Put your code in place of each ``raise NotImplementedError`` and run

    tinysmooth chapters check 7

as often as you like: it tells you which answers are right, and what is off about the others.
NumPy is all you need.
"""


def gap_for_probability(prob, num_classes):
    """Return the gap that gives the right class the probability ``prob``, one number.

    All the wrong logits are equal, so prob = 1 / (1 + (num_classes - 1) exp(-gap)). Below
    1 / num_classes the gap is negative.
    """
    raise NotImplementedError


def confident_loss(gaps):
    """Return the one-hot loss in nats from ``gaps``, the right logit minus each other one.

    ``gaps`` is an array of float64, shape (K - 1,). On paper it is log(1 + exp(-gaps).sum()), which
    a computer rounds to 0 for gaps of 40. Yours keeps twelve correct digits there, and does not
    overflow for a confident wrong answer (gaps of -1000).
    """
    raise NotImplementedError


def first_rounded_gap(dtype):
    """Return the smallest gap at which 1 / (1 + exp(-gap)) is exactly 1 in ``dtype``, to 0.01.

    ``dtype`` is np.float16, np.float32 or np.float64. Search for it, with every number of the
    computation in that dtype; a formula is not needed.
    """
    raise NotImplementedError
